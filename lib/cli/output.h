// SPDX-License-Identifier: GPL-2.0
// What verbs print: tables for people, JSON for programs, and questions.
#ifndef DDSNAP_CLI_OUTPUT_H_
#define DDSNAP_CLI_OUTPUT_H_

#include <ctime>
#include <string>
#include <vector>

namespace ddsnap {

// Lines of columns, each as wide as it needs; the first line is the head.
class Table {
 public:
  // `right`: columns that are aligned to the right, by number.
  Table(std::vector<std::string> head, std::vector<size_t> right);
  void Add(std::vector<std::string> row);
  void Print() const;  // to standard output

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<size_t> right_;
};

// RFC 3339, UTC; empty for a time that has no such form.
[[nodiscard]] std::string FormatTime(std::time_t when);

// Whether standard output is a terminal that wants colours: not with NO_COLOR set, or TERM=dumb.
[[nodiscard]] bool UseColour();

// Asks on the terminal, default no.  False as well where there is no terminal.
[[nodiscard]] bool Confirm(const std::string& question);

}  // namespace ddsnap

#endif  // DDSNAP_CLI_OUTPUT_H_
