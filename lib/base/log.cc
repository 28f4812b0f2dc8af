// SPDX-License-Identifier: GPL-2.0
#include "base/log.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace ddsnap {
namespace {

const char* g_program = "ddsnap";
bool g_to_stderr = true;

// Under systemd standard error is the journal already: once is enough.
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  unsigned long device = 0, inode = 0;
  struct stat st {};
  return stream != nullptr && std::sscanf(stream, "%lu:%lu", &device, &inode) == 2 &&
         ::fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

}  // namespace

void LogSetup(const char* program, bool to_stderr) {
  g_program = program;
  g_to_stderr = to_stderr && !StderrIsJournal();
}

void Log(int priority, const std::string& text, const std::vector<LogField>& fields) {
  if (g_to_stderr && priority <= LOG_INFO) {
    const std::string line = "ddsnap: " + text + "\n";
    (void)!::write(STDERR_FILENO, line.data(), line.size());
  }
  if (::access("/run/systemd/journal/socket", F_OK) != 0) return;
  std::vector<std::string> entries = {"MESSAGE=" + text, "PRIORITY=" + std::to_string(priority),
                                      "SYSLOG_IDENTIFIER=" + std::string(g_program)};
  for (const LogField& field : fields) {
    entries.push_back(std::string(field.name) + "=" + field.value);
  }
  std::vector<iovec> vectors;
  for (std::string& entry : entries) vectors.push_back({entry.data(), entry.size()});
  (void)sd_journal_sendv(vectors.data(), static_cast<int>(vectors.size()));
}

}  // namespace ddsnap
