// SPDX-License-Identifier: GPL-2.0
#include "volume/ini_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"

namespace ddsnap {
namespace {

constexpr size_t kMaxFile = 1 << 20;  // of a file that people write

std::string_view Trim(std::string_view s) {
  const size_t begin = s.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return s.substr(begin, s.find_last_not_of(" \t\r") - begin + 1);
}

bool IsComment(std::string_view line) {
  return line.empty() || line.front() == '#' || line.front() == ';';
}

// One logical line of the file: up to a newline that no backslash precedes.
std::string_view TakeLine(std::string_view* text, size_t* physical) {
  const bool comment = IsComment(Trim(text->substr(0, text->find('\n'))));
  size_t end = 0;
  for (;;) {
    end = text->find('\n', end);
    ++*physical;
    const bool last = end == std::string_view::npos || end + 1 == text->size();
    if (last || comment || end == 0 || (*text)[end - 1] != '\\') break;
    ++end;
  }
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return line;
}

// Continued lines are joined by a blank, as systemd.syntax(7) says.
std::string Join(std::string_view line) {
  std::string joined;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool joint = line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '\n';
    joined += joint ? ' ' : line[i];
    if (joint) ++i;
  }
  return joined;
}

}  // namespace

Result<IniFile> IniFile::Parse(std::string_view text, const std::string& name) {
  IniFile file;
  file.name_ = name;
  std::string section;
  size_t physical = 0;
  while (!text.empty()) {
    Line line;
    line.number = physical + 1;
    line.text = TakeLine(&text, &physical);
    const std::string joined = Join(line.text);
    const std::string_view content = Trim(joined);
    const auto bad = [&](const std::string& why) {
      return Fail(EINVAL, name + ": line " + std::to_string(line.number) + ": " + why);
    };
    if (content.find('\0') != std::string_view::npos) return bad("a NUL byte");
    if (!IsComment(content) && content.front() == '[') {
      if (content.back() != ']' || content.size() == 2) return bad("a section is [Name]");
      section = content.substr(1, content.size() - 2);
      line.kind = Line::Kind::kSection;
    } else if (!IsComment(content)) {
      const size_t equals = content.find('=');
      if (equals == std::string_view::npos || equals == 0)
        return bad("neither a section nor an assignment");
      if (section.empty()) return bad("an assignment outside of a section");
      line.kind = Line::Kind::kAssignment;
      line.key = Trim(content.substr(0, equals));
      line.value = Trim(content.substr(equals + 1));
    }
    line.section = section;
    file.lines_.push_back(std::move(line));
  }
  return file;
}

Result<IniFile> IniFile::Read(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno(errno, path);
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, path);
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxFile) return Fail(EFBIG, path + ": too large for a configuration file");
  }
  return Parse(text, path);
}

std::vector<IniFile::Entry> IniFile::entries() const {
  std::vector<Entry> all;
  for (const Line& line : lines_)
    if (line.kind == Line::Kind::kAssignment)
      all.push_back({line.section, line.key, line.value, line.number});
  return all;
}

std::vector<std::string> IniFile::sections() const {
  std::vector<std::string> all;
  for (const Line& line : lines_)
    if (line.kind == Line::Kind::kSection && std::ranges::find(all, line.section) == all.end())
      all.push_back(line.section);
  return all;
}

std::optional<std::string> IniFile::Get(std::string_view section, std::string_view key) const {
  for (auto line = lines_.rbegin(); line != lines_.rend(); ++line)
    if (line->kind == Line::Kind::kAssignment && line->section == section && line->key == key)
      return line->value;
  return std::nullopt;
}

void IniFile::AddSection(const std::string& section) {
  const auto known = sections();
  if (std::ranges::find(known, section) != known.end()) return;
  if (!lines_.empty() && !Trim(lines_.back().text).empty()) {
    Line blank;
    blank.section = lines_.back().section;
    lines_.push_back(std::move(blank));
  }
  lines_.push_back({.text = "[" + section + "]",
                    .kind = Line::Kind::kSection,
                    .section = section,
                    .key = {},
                    .value = {},
                    .number = 0});
}

void IniFile::Set(const std::string& section, const std::string& key, const std::string& value) {
  const Line added{.text = key + "=" + value,
                   .kind = Line::Kind::kAssignment,
                   .section = section,
                   .key = key,
                   .value = value,
                   .number = 0};
  size_t end = lines_.size();  // behind the section's last line that says something
  bool there = false;
  for (size_t i = lines_.size(); i-- > 0;) {
    if (lines_[i].section != section || lines_[i].kind == Line::Kind::kOther) continue;
    if (lines_[i].key == key && lines_[i].kind == Line::Kind::kAssignment) {
      lines_[i] = added;
      return;
    }
    if (!there) end = i + 1;
    there = true;
  }
  if (!there) {
    AddSection(section);
    end = lines_.size();
  }
  lines_.insert(lines_.begin() + static_cast<ptrdiff_t>(end), added);
}

void IniFile::Remove(std::string_view section, std::string_view key) {
  std::erase_if(lines_, [&](const Line& line) {
    return line.kind == Line::Kind::kAssignment && line.section == section && line.key == key;
  });
}

void IniFile::RemoveSection(std::string_view section) {
  std::erase_if(lines_, [&](const Line& line) { return line.section == section; });
}

std::string IniFile::text() const {
  std::string all;
  for (const Line& line : lines_) all += line.text + "\n";
  return all;
}

Status WriteWholeFile(const std::string& path, std::string_view text) {
  std::string temporary = path + ".XXXXXX";
  const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return FailErrno(errno, path);
  const auto failed = [&](const std::string& what) {
    const int code = errno;
    (void)::unlink(temporary.c_str());
    return FailErrno(code, what);
  };
  struct stat st;
  mode_t mode = 0644;
  if (::stat(path.c_str(), &st) == 0) {
    mode = st.st_mode & 07777;
    (void)::fchown(fd.get(), st.st_uid, st.st_gid);
  }
  while (!text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path);
    text.remove_prefix(static_cast<size_t>(n));
  }
  if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0) return failed(path);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return failed(path);
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return dir && ::fsync(dir.get()) == 0 ? Status() : FailErrno(errno, folder);
}

}  // namespace ddsnap
