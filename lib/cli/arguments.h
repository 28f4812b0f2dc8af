// SPDX-License-Identifier: GPL-2.0
// What a verb or a daemon takes: options and operands, declared one by one.
//
// The parser behind it is CLI11.  Only lib/cli includes that: its templates cost
// more to compile than most verbs.
//
// Thread rule: one thread.
#ifndef DDSNAP_CLI_ARGUMENTS_H_
#define DDSNAP_CLI_ARGUMENTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ddsnap {

// One that was declared.  A small value: it may be copied.
class Argument {
 public:
  explicit Argument(CLI::Option* option) : option_(option) {}

  Argument& Required();
  Argument& Excludes(const Argument& other);
  Argument& InRange(int least, int most);
  Argument& OneOf(const std::vector<std::string>& words);
  // How many values a list takes.
  Argument& Count(int least, int most);
  // The help tells the present value as the default.
  Argument& ShowDefault();
  // What the help calls its value.
  Argument& TypeName(const std::string& name);

  // After parsing: whether it was there.
  [[nodiscard]] bool given() const;

 private:
  CLI::Option* option_;
};

// Names: "-k,--cache" is an option, "NAME" (no dash) an operand.  Values are set
// by parsing, which must not outlive them.
class Arguments {
 public:
  explicit Arguments(CLI::App& app) : app_(&app) {}

  Argument Add(const std::string& name, std::string* value, const std::string& help);
  Argument Add(const std::string& name, int32_t* value, const std::string& help);
  Argument Add(const std::string& name, int64_t* value, const std::string& help);
  Argument Add(const std::string& name, uint32_t* value, const std::string& help);
  Argument Add(const std::string& name, uint64_t* value, const std::string& help);
  Argument Add(const std::string& name, std::optional<std::string>* value, const std::string& help);
  Argument Add(const std::string& name, std::optional<int32_t>* value, const std::string& help);
  Argument Add(const std::string& name, std::optional<int64_t>* value, const std::string& help);
  Argument Add(const std::string& name, std::optional<uint32_t>* value, const std::string& help);
  Argument Add(const std::string& name, std::optional<uint64_t>* value, const std::string& help);
  Argument Add(const std::string& name, std::vector<std::string>* value, const std::string& help);
  Argument Add(const std::string& name, std::vector<uint32_t>* value, const std::string& help);
  Argument AddFlag(const std::string& name, bool* value, const std::string& help);

  // Gets the text; what it refuses is wrong usage, with its reason.
  using Take = std::function<Status(const std::string& text)>;
  Argument AddParsed(const std::string& name, Take take, const std::string& help);

 private:
  CLI::App* app_;
};

}  // namespace ddsnap

#endif  // DDSNAP_CLI_ARGUMENTS_H_
