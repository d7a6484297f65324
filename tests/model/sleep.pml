/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleeping and waking (shm/wake.hpp): two clients, each with its lane, and one daemon. A client
 * publishes a request, then looks whether the daemon sleeps; a daemon publishes an answer, then
 * looks whether the client sleeps. A lane that is silent may be parked: left out of the scan. The
 * model has no time-outs, so a lost wake-up is a state without a way on.
 *
 * VARIANTS
 *   (default)      full fences on both sides
 *   ASYMMETRIC     the busy side has none, the sleeper calls membarrier(2)
 *
 * PLANTED BUGS, each must be found
 *   BUG_NO_CLIENT_FENCE   the client looks at the announcement without a fence after publishing
 *   BUG_NO_DAEMON_FENCE   the daemon looks at the announcement without a fence after publishing
 *   BUG_NO_SLEEPER_FENCE  the daemon announces its sleep and scans without a fence between
 *   BUG_NO_MEMBARRIER     ASYMMETRIC, but the sleeper only has a fence of its own
 *   BUG_NO_RECHECK        the daemon sleeps without a scan after its announcement
 *   BUG_SKIP_PARKED       that scan leaves parked lanes out
 *   BUG_NO_RESET          the waker wakes without clearing the futex word first
 */
#define CLIENTS 2
#define THREADS 3
#define DAEMON 2 /* clients are threads 0 and 1 */
#ifndef REQUESTS
#define REQUESTS 2
#endif

#define REQUEST(client) (client)
#define RESPONSE(client) (2 + client)
#define CLIENT_SLEEPING(client) (4 + client)
#define DAEMON_SLEEPING 6
#define WORDS 7
#define BUFFER_STORES 2
#include "store_buffers.pml"

#ifdef ASYMMETRIC
#define BUSY_FENCE(thread) skip
#ifdef BUG_NO_MEMBARRIER
#define SLEEPER_FENCE(thread) FULL_FENCE(thread)
#else
/* membarrier(2): each thread passes a moment at which its buffer is empty. */
#define SLEEPER_FENCE(thread) \
  FULL_FENCE(thread);         \
  empty(store_buffer[0]);     \
  empty(store_buffer[1]);     \
  empty(store_buffer[2])
#endif
#else
#define BUSY_FENCE(thread) FULL_FENCE(thread)
#define SLEEPER_FENCE(thread) FULL_FENCE(thread)
#endif

#ifdef BUG_NO_CLIENT_FENCE
#define CLIENT_BUSY_FENCE skip
#else
#define CLIENT_BUSY_FENCE BUSY_FENCE(self)
#endif
#ifdef BUG_NO_DAEMON_FENCE
#define DAEMON_BUSY_FENCE skip
#else
#define DAEMON_BUSY_FENCE BUSY_FENCE(DAEMON)
#endif
#ifdef BUG_NO_SLEEPER_FENCE
#define DAEMON_SLEEPER_FENCE skip
#else
#define DAEMON_SLEEPER_FENCE SLEEPER_FENCE(DAEMON)
#endif

/* The kernel's part: a counter that wakes the daemon (eventfd), and who sleeps in futex_wait. */
bool eventfd;
bool in_futex[CLIENTS];

proctype client(byte self) {
  byte seq;
  do
  :: seq < REQUESTS ->
     seq++;
     PUBLISH(self, REQUEST(self), seq);
     CLIENT_BUSY_FENCE;
     if
     :: PEEK(DAEMON_SLEEPING) -> eventfd = true
     :: else
     fi;
     do
     :: PEEK(RESPONSE(self)) == seq -> break
     :: PEEK(RESPONSE(self)) != seq -> /* enough spinning: sleep */
        POKE(self, CLIENT_SLEEPING(self), 1);
        SLEEPER_FENCE(self);
        if
        :: PEEK(RESPONSE(self)) == seq
        :: else ->
           /* futex_wait: compares and goes to sleep as one step, with the own stores in memory. */
           atomic {
             empty(store_buffer[self]) -> in_futex[self] = (PEEK(CLIENT_SLEEPING(self)) == 1)
           }
           !in_futex[self]
        fi;
        POKE(self, CLIENT_SLEEPING(self), 0)
     od
  :: else -> break
  od
}

inline serve(lane) {
  served[lane] = PEEK(REQUEST(lane));
  parked[lane] = false;
  found = true;
  PUBLISH(DAEMON, RESPONSE(lane), served[lane]);
  DAEMON_BUSY_FENCE;
  if
  :: PEEK(CLIENT_SLEEPING(lane)) ->
#ifndef BUG_NO_RESET
     EXCHANGE(DAEMON, CLIENT_SLEEPING(lane), 0, old);
     old = 0;
#endif
     in_futex[lane] = false /* futex_wake */
  :: else
  fi
}

inline scan(with_parked) {
  lane = 0;
  do
  :: lane < CLIENTS ->
     if
     :: (with_parked || !parked[lane]) && PEEK(REQUEST(lane)) != served[lane] -> serve(lane)
     :: (with_parked || !parked[lane]) && PEEK(REQUEST(lane)) == served[lane] ->
        if
        :: parked[lane] = true /* silent for long */
        :: skip
        fi
     :: else
     fi;
     lane++
  :: else -> break
  od;
  lane = 0
}

active proctype daemon() {
  byte lane, old;
  bool found;
  byte served[CLIENTS];
  bool parked[CLIENTS];
  do
  :: found = false;
     scan(false);
     if
     :: found
     :: else ->
        POKE(DAEMON, DAEMON_SLEEPING, 1);
        DAEMON_SLEEPER_FENCE;
#ifndef BUG_NO_RECHECK
#ifdef BUG_SKIP_PARKED
        scan(false);
#else
        scan(true);
#endif
#endif
        if
        :: found
        :: else ->
end:
           atomic { eventfd -> eventfd = false }
        fi;
        POKE(DAEMON, DAEMON_SLEEPING, 0)
     fi
  od
}

init {
  atomic { run client(0); run client(1) }
}
