// SPDX-License-Identifier: GPL-2.0
// The state of volumes as metrics, for Prometheus to collect.
#ifndef DDSNAP_TOOLS_ZUMASTOR_PROMETHEUS_H_
#define DDSNAP_TOOLS_ZUMASTOR_PROMETHEUS_H_

#include <nlohmann/json.hpp>
#include <string>

namespace ddsnap {

// Prometheus's text format 0.0.4 of `reports`, an array of what VolumeReport() returns.
// Sizes are in bytes, times in seconds since 1970.  What is not known of a volume (its
// store, while it is down) has no sample.
[[nodiscard]] std::string PrometheusText(const nlohmann::json& reports);

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_ZUMASTOR_PROMETHEUS_H_
