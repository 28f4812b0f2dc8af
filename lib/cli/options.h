// SPDX-License-Identifier: GPL-2.0
// The option forms that verbs share.
#ifndef DDSNAP_CLI_OPTIONS_H_
#define DDSNAP_CLI_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "base/chunk.h"
#include "base/status.h"
#include "cli/arguments.h"

namespace ddsnap {

// "16k", "1M", "3G", "2T": powers of 1024, either case; bytes without a suffix.
[[nodiscard]] Result<uint64_t> ParseSize(const std::string& text);

// A snapshot's tag, 0 .. kMaxTag.
[[nodiscard]] Result<Tag> ParseTag(const std::string& text);

// "16384" -> "16K", "1536" -> "1.5K": for people.
[[nodiscard]] std::string FormatSize(uint64_t bytes);

// An option (or operand, when `name` has no dash) that takes such a size.
Argument AddSize(Arguments& args, const std::string& name, uint64_t* value,
                 const std::string& help);
Argument AddTag(Arguments& args, const std::string& name, Tag* value, const std::string& help);
Argument AddTag(Arguments& args, const std::string& name, std::optional<Tag>* value,
                const std::string& help);

// --json
Argument AddJson(Arguments& args, bool* json);

}  // namespace ddsnap

#endif  // DDSNAP_CLI_OPTIONS_H_
