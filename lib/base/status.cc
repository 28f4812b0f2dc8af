// SPDX-License-Identifier: GPL-2.0
#include "base/status.h"

#include <system_error>

namespace ddsnap {

std::unexpected<Error> FailErrno(int code, const std::string& what) {
  return Fail(code, what + ": " + std::generic_category().message(code));
}

}  // namespace ddsnap
