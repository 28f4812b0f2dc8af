// SPDX-License-Identifier: GPL-2.0
#include "cli/arguments.h"

#include <CLI/CLI.hpp>
#include <utility>

namespace ddsnap {

Argument& Argument::Required() {
  option_->required();
  return *this;
}

Argument& Argument::Excludes(const Argument& other) {
  option_->excludes(other.option_);
  return *this;
}

Argument& Argument::InRange(int least, int most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Argument& Argument::OneOf(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words));
  return *this;
}

Argument& Argument::ShowDefault() {
  option_->capture_default_str();
  return *this;
}

Argument& Argument::Count(int least, int most) {
  option_->expected(least, most);
  return *this;
}

Argument& Argument::TypeName(const std::string& name) {
  option_->type_name(name);
  return *this;
}

bool Argument::given() const { return option_->count() != 0; }

Argument Arguments::Add(const std::string& name, std::string* value, const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, int32_t* value, const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, int64_t* value, const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, uint32_t* value, const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, uint64_t* value, const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, std::optional<std::string>* value,
                        const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, std::optional<int32_t>* value,
                        const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, std::optional<int64_t>* value,
                        const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, std::optional<uint32_t>* value,
                        const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, std::optional<uint64_t>* value,
                        const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, std::vector<std::string>* value,
                        const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::Add(const std::string& name, std::vector<uint32_t>* value,
                        const std::string& help) {
  return Argument(app_->add_option(name, *value, help));
}

Argument Arguments::AddFlag(const std::string& name, bool* value, const std::string& help) {
  return Argument(app_->add_flag(name, *value, help));
}

Argument Arguments::AddParsed(const std::string& name, Take take, const std::string& help) {
  return Argument(app_->add_option_function<std::string>(
      name,
      [take = std::move(take)](const std::string& text) {
        // CLI11 takes its errors as exceptions, and catches them in its parser.
        if (const Status s = take(text); !s) throw CLI::ValidationError(s.error().text);
      },
      help));
}

}  // namespace ddsnap
