// SPDX-License-Identifier: GPL-2.0
#include "base/status.h"

#include <cerrno>

#include "unit.h"

using namespace ddsnap;

START_TEST(fail_errno_names_what_and_why) {
  const Status s = FailErrno(ENOENT, "open /x");
  ck_assert(!s);
  ck_assert_int_eq(s.error().code, ENOENT);
  ck_assert_str_eq(s.error().text.c_str(), "open /x: No such file or directory");
}
END_TEST

START_TEST(pass_keeps_code_and_text) {
  Result<int> r = Fail(EINVAL, "a: b");
  const Status s = Pass(r);
  ck_assert_int_eq(s.error().code, EINVAL);
  ck_assert_str_eq(s.error().text.c_str(), "a: b");
}
END_TEST

UNIT_MAIN("status", fail_errno_names_what_and_why, pass_keeps_code_and_text)
