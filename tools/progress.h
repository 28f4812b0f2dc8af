// SPDX-License-Identifier: GPL-2.0
// Progress of long work on standard error: a line that changes, when that is a terminal, or JSON,
// one object a line and second, when it is asked for.
#ifndef DDSNAP_TOOLS_PROGRESS_H_
#define DDSNAP_TOOLS_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace ddsnap {

class ProgressLine {
 public:
  // `file`: for others who want to know, how far it is, once a second as a JSON object; it
  // goes when the work is over.  Empty: none.
  explicit ProgressLine(bool json = false, std::string file = "");
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Shows "WHAT: 1.2G of 3.4G (35%), 120M/s" a few times a second.  `total` 0:
  // unknown.  Cheap enough to be called for every extent.
  void Show(const char* what, uint64_t done, uint64_t total);
  // Removes the line: before anything else is printed.
  void Clear();

 private:
  using Clock = std::chrono::steady_clock;
  void ShowJson(uint64_t done, uint64_t total, double seconds);
  void WriteFile(uint64_t done, uint64_t total);

  const bool json_;
  const bool terminal_;
  const std::string file_;
  std::string what_;
  Clock::time_point begun_;
  Clock::time_point shown_;
  Clock::time_point filed_;
  bool visible_ = false;
};

}  // namespace ddsnap

#endif  // DDSNAP_TOOLS_PROGRESS_H_
