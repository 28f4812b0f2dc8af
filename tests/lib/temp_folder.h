// SPDX-License-Identifier: GPL-2.0
// A folder that ends with the test.
#ifndef DDSNAP_TESTS_LIB_TEMP_FOLDER_H_
#define DDSNAP_TESTS_LIB_TEMP_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <string>

namespace ddsnap::test {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ddsnap-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace ddsnap::test

#endif  // DDSNAP_TESTS_LIB_TEMP_FOLDER_H_
