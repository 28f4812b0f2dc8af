// SPDX-License-Identifier: GPL-2.0
// What every unit test shares: one Check suite per program, whose main is
// UNIT_MAIN(name, tests...).
#ifndef DDSNAP_TESTS_UNIT_UNIT_H_
#define DDSNAP_TESTS_UNIT_UNIT_H_

#include <check.h>

#include <initializer_list>

namespace ddsnap::unit {

inline int Run(const char* name, std::initializer_list<const TTest*> tests) {
  Suite* suite = suite_create(name);
  TCase* cases = tcase_create(name);
  tcase_set_timeout(cases, 0);  // slow machines and sanitizers: never by time
  for (const TTest* test : tests) tcase_add_test(cases, test);
  suite_add_tcase(suite, cases);
  SRunner* runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  const int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}

}  // namespace ddsnap::unit

#define UNIT_MAIN(name, ...) \
  int main() { return ddsnap::unit::Run(name, {__VA_ARGS__}); }

// The value of a Result or the failure of the test with its text.
#define CK_OK(result)                                                  \
  do {                                                                 \
    const auto& ck_ok_result = (result);                               \
    ck_assert_msg(ck_ok_result.has_value(), "%s",                      \
                  ck_ok_result ? "" : ck_ok_result.error().text.c_str()); \
  } while (0)

#endif  // DDSNAP_TESTS_UNIT_UNIT_H_
