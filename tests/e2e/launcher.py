# SPDX-License-Identifier: Apache-2.0
"""Programs started by mpirun, for tests."""
import os
import shutil
import subprocess

from daemon_process import end_with_parent

SKIPPED = 77
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]


def mpirun(*command, ranks, seconds_max, **environment):
    """Runs `command` as that many ranks, with nothing of this environment that a rank looks at."""
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("COPYKV_", "PMIX_", "OMPI_", "SLURM_", "PMI_"))}
    return subprocess.run([*MPIRUN, "-n", str(ranks), *command], env={**clean, **environment},
                          capture_output=True, text=True, timeout=seconds_max, check=False,
                          preexec_fn=end_with_parent)


def why_no_mpirun(seconds_max):
    """Empty where mpirun can start a process; else why it cannot."""
    if shutil.which("mpirun") is None:
        return "mpirun is not installed (openmpi-bin)"
    probe = mpirun("true", ranks=1, seconds_max=seconds_max)
    if probe.returncode != 0:
        return "mpirun cannot start a process here: " + " ".join(probe.stderr.split())[:200]
    return ""
