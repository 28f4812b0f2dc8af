// SPDX-License-Identifier: GPL-2.0
#include "progress.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/options.h"

namespace ddsnap {

ProgressLine::ProgressLine(bool json, std::string file)
    : json_(json), terminal_(::isatty(STDERR_FILENO) == 1), file_(std::move(file)) {}

ProgressLine::~ProgressLine() {
  Clear();
  if (filed_ != Clock::time_point()) (void)::unlink(file_.c_str());
}

void ProgressLine::Show(const char* what, uint64_t done, uint64_t total) {
  if (!terminal_ && !json_ && file_.empty()) return;
  const auto now = Clock::now();
  if (what_ != what) {
    what_ = what;
    begun_ = now;
    shown_ = now - std::chrono::seconds(1);
  }
  if (!file_.empty() && (now - filed_ >= std::chrono::seconds(1) || done == total)) {
    filed_ = now;
    WriteFile(done, total);
  }
  if (!terminal_ && !json_) return;
  if (now - shown_ < std::chrono::milliseconds(json_ ? 1000 : 200) && done != total) return;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - begun_).count();
  if (json_) return ShowJson(done, total, seconds);
  std::string line = what_ + ": " + FormatSize(done);
  if (total > 0) {
    const int percent =
        static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total));
    line += " of " + FormatSize(total) + " (" + std::to_string(percent) + "%)";
  }
  if (seconds > 0.5) {
    line += ", " + FormatSize(static_cast<uint64_t>(static_cast<double>(done) / seconds)) + "/s";
  }
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  visible_ = true;
}

void ProgressLine::ShowJson(uint64_t done, uint64_t total, double seconds) {
  nlohmann::json line = {{"progress", what_}, {"done", done}, {"seconds", seconds}};
  if (total > 0) line["total"] = total;
  std::fprintf(stderr, "%s\n", line.dump().c_str());
}

// What cannot be written is not worth stopping for.
void ProgressLine::WriteFile(uint64_t done, uint64_t total) {
  const std::string fresh = file_ + ".new";
  std::ofstream out(fresh);
  out << nlohmann::json({{"what", what_}, {"done", done}, {"total", total}}).dump() << "\n";
  out.close();
  if (out) (void)std::rename(fresh.c_str(), file_.c_str());
}

void ProgressLine::Clear() {
  if (visible_) std::fputs("\r\033[K", stderr);
  visible_ = false;
}

}  // namespace ddsnap
