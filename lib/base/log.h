// SPDX-License-Identifier: GPL-2.0
// The daemons' log: lines with fields, to the journal where there is one and
// to standard error in the foreground.  Libraries return errors and do not log.
#ifndef DDSNAP_BASE_LOG_H_
#define DDSNAP_BASE_LOG_H_

#include <syslog.h>  // LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG

#include <string>
#include <string_view>
#include <vector>

namespace ddsnap {

struct LogField {
  std::string_view name;  // of the journal: upper case, "ZUMASTOR_TAG"
  std::string value;
};

// Where lines go from now on: `program` is their name in the journal; `to_stderr`
// as in the foreground, where all are "ddsnap: TEXT".
void LogSetup(const char* program, bool to_stderr);

// `priority` is one of syslog's.
void Log(int priority, const std::string& text, const std::vector<LogField>& fields = {});

}  // namespace ddsnap

#endif  // DDSNAP_BASE_LOG_H_
