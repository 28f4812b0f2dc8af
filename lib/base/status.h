// SPDX-License-Identifier: GPL-2.0
// Errors as values.  A function that can fail returns Status or Result<T>; no
// exception crosses a module.  An Error is an errno value, which programs act
// on, and one line of text, which people read: "WHAT: WHY", no full stop, no
// newline.  Libraries return errors, mains print them.
#ifndef DDSNAP_BASE_STATUS_H_
#define DDSNAP_BASE_STATUS_H_

#include <expected>
#include <string>
#include <utility>

namespace ddsnap {

struct Error {
  int code = 0;  // a positive errno value; EBADMSG means damaged data
  std::string text;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// An error with the given errno value and text.
[[nodiscard]] inline std::unexpected<Error> Fail(int code, std::string text) {
  return std::unexpected(Error{code, std::move(text)});
}

// "WHAT: strerror(code)": the one place where errno becomes text.
[[nodiscard]] std::unexpected<Error> FailErrno(int code, const std::string& what);

// Hands an error on unchanged: `if (!r) return Pass(r);`
template <typename T>
[[nodiscard]] std::unexpected<Error> Pass(Result<T>& result) {
  return std::unexpected(std::move(result.error()));
}

}  // namespace ddsnap

#endif  // DDSNAP_BASE_STATUS_H_
