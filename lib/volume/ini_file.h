// SPDX-License-Identifier: GPL-2.0
// Files of sections and assignments as systemd.syntax(7) has them, read and
// edited so that what a person wrote, comments and order included, stays.
//
//   # or ; begins a comment line      [Section]      Key=value
//   a line that ends in \ goes on in the next one; a key may be given twice
//
// Thread rule: one thread.
#ifndef DDSNAP_VOLUME_INI_FILE_H_
#define DDSNAP_VOLUME_INI_FILE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace ddsnap {

class IniFile {
 public:
  // `name` is for messages.  EINVAL, with the line's number, for what is no
  // comment, section or assignment.
  [[nodiscard]] static Result<IniFile> Parse(std::string_view text, const std::string& name);
  // The whole file; ENOENT if there is none.
  [[nodiscard]] static Result<IniFile> Read(const std::string& path);

  struct Entry {
    std::string section;
    std::string key;
    std::string value;
    size_t line = 0;  // from 1
  };
  // In the order of the file.
  [[nodiscard]] std::vector<Entry> entries() const;
  [[nodiscard]] std::vector<std::string> sections() const;  // each once
  // The last assignment, as systemd has it.
  [[nodiscard]] std::optional<std::string> Get(std::string_view section,
                                               std::string_view key) const;

  // Replaces the last assignment of the key, or adds one at the end of the
  // section, which is made at the end of the file if there is none.
  void Set(const std::string& section, const std::string& key, const std::string& value);
  // Makes the section at the end of the file, unless there is one.
  void AddSection(const std::string& section);
  // Removes all assignments of the key; the section stays.
  void Remove(std::string_view section, std::string_view key);
  // With all of its lines.
  void RemoveSection(std::string_view section);

  [[nodiscard]] std::string text() const;
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  struct Line {
    enum class Kind { kOther, kSection, kAssignment };
    std::string text;  // as it stands, without the last newline
    Kind kind = Kind::kOther;
    std::string section;  // that it belongs to or, kSection, begins
    std::string key;
    std::string value;
    size_t number = 0;
  };
  std::string name_;
  std::vector<Line> lines_;
};

// Replaces the file as a whole: after a crash it is the old or the new one.
// Mode 0644; keeps the owner of an existing one as far as we may.
[[nodiscard]] Status WriteWholeFile(const std::string& path, std::string_view text);

}  // namespace ddsnap

#endif  // DDSNAP_VOLUME_INI_FILE_H_
