// SPDX-License-Identifier: GPL-2.0
#include "exec_daemon.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace ddsnap {

Result<int> ExecDaemon(const std::string& program, const std::vector<std::string>& arguments) {
  const char* dir = ::secure_getenv("ZUMASTOR_LIBEXECDIR");
  const std::string path = std::string(dir != nullptr ? dir : PKGLIBEXECDIR) + "/" + program;
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(program.c_str()));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(path.c_str(), argv.data());
  return FailErrno(errno, path);
}

}  // namespace ddsnap
