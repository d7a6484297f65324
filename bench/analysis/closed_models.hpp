// SPDX-License-Identifier: Apache-2.0
// What throughput a closed system gives: N customers, each of whom waits for the answer before it
// asks again. Rates count per second, times are in seconds, N counts customers of one rank (clients
// times queue depth).
//
// SOURCES
//   operational laws, asymptotic bounds   Denning & Buzen, "The Operational Analysis of Queueing
//                                         Network Models", Computing Surveys 10(3), 1978
//   Little's law                          Little, "A Proof for the Queuing Formula L = lambda W",
//                                         Operations Research 9(3), 1961
//   mean value analysis                   Reiser & Lavenberg, "Mean-Value Analysis of Closed
//                                         Multichain Queuing Networks", JACM 27(2), 1980
//   the same with fixed service times     Reiser, "A Queueing Network Analysis of Computer
//                                         Communication Networks with Window Flow Control", IEEE
//                                         Trans. Comm. 27(8), 1979: who is in service when a
//                                         customer arrives has half its service left, not all
//   universal scalability law             Gunther, "Guerrilla Capacity Planning", 2007
//   batch model                           T_cycle = a + b n: one thread works through all n waiting
//                                         requests in turn, so X = N / (a + b N)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace copykv::bench::analysis {

/// Relative variance of a station's service time.
enum class Service : uint8_t { exponential, fixed };

struct Network {
  double delay_s = 0;               ///< per visit to no queue: wires, clients, thinking
  std::vector<double> demands_s{};  ///< busy time per operation of each station
  Service service = Service::exponential;
};

struct Solution {
  double rate_per_s = 0;
  double response_s = 0;              ///< without delay_s
  std::vector<double> residence_s{};  ///< per station: waiting and service
  std::vector<double> utilisation{};  ///< U_k = X D_k, the utilisation law
};

/// Mean value analysis with N customers. Exact for exponential service; with fixed service times an
/// approximation, capped at the bottleneck's rate.
[[nodiscard]] Solution mean_values(const Network& network, uint32_t customers);

struct Bounds {
  double rate_max_per_s = 0;  ///< X <= min(N / (R1 + Z), 1 / D_max)
  double knee = 0;            ///< N* = (R1 + Z) / D_max: from here on somebody must wait
};
[[nodiscard]] Bounds asymptotic_bounds(double cycle_alone_s, double demand_max_s, double customers);

enum class ModelKind : uint8_t { bounds, mva, mva_fixed, batch, scalability };
inline constexpr ModelKind kModels[] = {ModelKind::bounds, ModelKind::mva, ModelKind::mva_fixed,
                                        ModelKind::batch, ModelKind::scalability};
[[nodiscard]] std::string_view name_of(ModelKind kind) noexcept;

/// One measured load.
struct LoadPoint {
  double customers = 0;
  double rate_per_s = 0;
};

struct Model {
  ModelKind kind = ModelKind::bounds;
  std::vector<double> parameters{};  ///< as names_of() names them
  double fit_error = 0;              ///< root mean square of the relative errors on what it was
                                     ///< fitted to

  [[nodiscard]] double rate_at(double customers) const;
  /// What no number of customers exceeds, as far as the model knows.
  [[nodiscard]] double rate_max_per_s(double customers_max) const;
};
[[nodiscard]] std::vector<std::string_view> parameter_names(ModelKind kind);

/// Least squares of the logarithm of the rate (relative errors count alike). Needs at least as many
/// points as parameters; the rate of an empty model is 0.
[[nodiscard]] Model fit(ModelKind kind, std::span<const LoadPoint> points);

}  // namespace copykv::bench::analysis
