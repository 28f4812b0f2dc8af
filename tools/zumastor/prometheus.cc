// SPDX-License-Identifier: GPL-2.0
#include "prometheus.h"

#include <ctime>
#include <map>
#include <vector>

namespace ddsnap {
namespace {

using Json = nlohmann::json;
using Labels = std::vector<std::pair<std::string, std::string>>;

// In a label's value '\', '"' and line feeds are escaped; volume names hold none, errors might.
std::string Escape(const std::string& value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\n') {
      escaped += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// One metric and all its samples: the format wants them together.
class Gauge {
 public:
  Gauge(const char* name, const char* help) : name_(name), help_(help) {}

  void Add(const Labels& labels, uint64_t value) {
    lines_ += name_ + "{";
    for (const auto& [label, text] : labels)
      lines_ += (label == labels.front().first ? "" : ",") + label + "=\"" + Escape(text) + "\"";
    lines_ += "} " + std::to_string(value) + "\n";
  }

  [[nodiscard]] std::string Text() const {
    if (lines_.empty()) return "";
    return "# HELP " + name_ + " " + help_ + "\n# TYPE " + name_ + " gauge\n" + lines_;
  }

 private:
  std::string name_, help_, lines_;
};

uint64_t Seconds(const std::string& rfc3339) {
  tm parts{};
  if (::strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return 0;
  return static_cast<uint64_t>(::timegm(&parts));
}

struct Metrics {
  Gauge up{"zumastor_volume_up", "1 if the volume's device is there."};
  Gauge problems{"zumastor_volume_problems", "How many problems zumastor status names."};
  Gauge link{"zumastor_link_up", "1 if the kernel is linked to the volume's server."};
  Gauge origin{"zumastor_origin_size_bytes", "Size of the origin."};
  Gauge store{"zumastor_store_size_bytes", "Space for older contents in the snapshot store."};
  Gauge free{"zumastor_store_free_bytes", "Space in the snapshot store that is free."};
  Gauge snapshots{"zumastor_snapshots", "Snapshots by state."};
  Gauge newest{"zumastor_snapshot_newest_timestamp_seconds", "When the newest snapshot was made."};
  Gauge finished{"zumastor_job_finished_timestamp_seconds", "When a job last ended."};
  Gauge failed{"zumastor_job_failed", "1 if the job failed when it last ran."};

  Gauge success{"zumastor_replication_last_success_timestamp_seconds",
                "When the peer last had all that there was."};
  Gauge lag{"zumastor_replication_lag_seconds", "Age of the newest snapshot that both have."};
  Gauge failing{"zumastor_replication_failing", "1 if the last attempt failed."};
  Gauge running{"zumastor_replication_running", "1 while something is under way."};
  Gauge bytes{"zumastor_replication_last_bytes", "What the last snapshot took on its way."};
  Gauge took{"zumastor_replication_last_milliseconds", "How long the last snapshot took."};

  void AddServer(const Labels& volume, const Json& report);
  void AddSnapshots(const Labels& volume, const Json& snapshots);
  void AddJobs(const std::string& name, const Json& jobs);
  void AddPeer(const Labels& labels, const Json& peer);
  void AddPeers(const std::string& name, const Json& report);
};

void Metrics::AddServer(const Labels& volume, const Json& report) {
  link.Add(volume, report.value("link", "") == "connected" ? 1 : 0);
  origin.Add(volume, report.value("origin_size", uint64_t{0}));
  const auto chunk = report.value("chunk_size", uint64_t{0});
  store.Add(volume, report.at("store").value("total_chunks", uint64_t{0}) * chunk);
  free.Add(volume, report.at("store").value("free_chunks", uint64_t{0}) * chunk);
}

void Metrics::AddSnapshots(const Labels& volume, const Json& list) {
  std::map<std::string, uint64_t> states = {{"ok", 0}, {"given-up", 0}, {"bookmark", 0}};
  uint64_t last = 0;
  for (const Json& snapshot : list) {
    const std::string state = snapshot.value("state", "");
    ++states[state];
    last = std::max(last, Seconds(snapshot.value("created", "")));
  }
  for (const auto& [state, count] : states) {
    Labels labels = volume;
    labels.emplace_back("state", state);
    snapshots.Add(labels, count);
  }
  if (last != 0) newest.Add(volume, last);
}

void Metrics::AddJobs(const std::string& name, const Json& jobs) {
  for (const auto& [job, record] : jobs.items()) {
    const Labels labels = {{"volume", name}, {"job", job}};
    finished.Add(labels, Seconds(record.value("finished", "")));
    failed.Add(labels, record.value("error", "").empty() ? 0 : 1);
  }
}

void Metrics::AddPeer(const Labels& labels, const Json& peer) {
  if (const Json& when = peer.at("last_success"); when.is_string())
    success.Add(labels, Seconds(when.get<std::string>()));
  if (const Json& age = peer.at("lag"); age.is_number()) lag.Add(labels, age.get<uint64_t>());
  failing.Add(labels, peer.value("last_error", "").empty() ? 0 : 1);
  running.Add(labels, peer.value("state", "") == "running" ? 1 : 0);
  bytes.Add(labels, peer.value("bytes", uint64_t{0}));
  took.Add(labels, static_cast<uint64_t>(1000 * peer.value("seconds", 0.0)));
}

void Metrics::AddPeers(const std::string& name, const Json& report) {
  for (const Json& target : report.value("targets", Json::array()))
    AddPeer({{"volume", name}, {"direction", "to"}, {"peer", target.value("target", "")}}, target);
  if (const auto source = report.find("source"); source != report.end())
    AddPeer({{"volume", name}, {"direction", "from"}, {"peer", source->value("host", "")}},
            *source);
}

}  // namespace

std::string PrometheusText(const Json& reports) {
  Metrics m;
  for (const Json& report : reports) {
    const std::string name = report.value("volume", "");
    const Labels volume = {{"volume", name}};
    m.up.Add(volume, report.value("state", "") == "up" ? 1 : 0);
    m.problems.Add(volume, report.at("problems").size());
    if (!report.contains("store")) continue;
    m.AddServer(volume, report);
    m.AddSnapshots(volume, report.at("snapshots"));
    m.AddJobs(name, report.value("jobs", Json::object()));
    m.AddPeers(name, report);
  }
  std::string text;
  for (const Gauge* gauge :
       {&m.up, &m.problems, &m.link, &m.origin, &m.store, &m.free, &m.snapshots, &m.newest,
        &m.finished, &m.failed, &m.success, &m.lag, &m.failing, &m.running, &m.bytes, &m.took})
    text += gauge->Text();
  return text;
}

}  // namespace ddsnap
