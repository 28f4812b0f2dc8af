// SPDX-License-Identifier: GPL-2.0
// A block device or regular file of the operating system.
#ifndef DDSNAP_IO_FILE_DEVICE_H_
#define DDSNAP_IO_FILE_DEVICE_H_

#include <memory>
#include <string>

#include "base/fd.h"
#include "io/block_device.h"

namespace ddsnap {

class FileDevice : public BlockDevice {
 public:
  struct Options {
    bool write = true;
    bool direct = true;      // O_DIRECT where the file system can do it
    bool exclusive = false;  // fail with EBUSY if a block device is in use, by the kernel too
    // Fail with EBUSY if another program has the device open with `lock`.  A server cannot
    // be exclusive on its store: the kernel that it serves holds that device.
    bool lock = false;
  };

  [[nodiscard]] static Result<std::unique_ptr<FileDevice>> Open(const std::string& path,
                                                                const Options& options);

  // With O_DIRECT, buffers that are not aligned to kBlockSize are copied.
  [[nodiscard]] Status Read(uint64_t offset, std::span<std::byte> out) override;
  [[nodiscard]] Status Write(uint64_t offset, std::span<const std::byte> data) override;
  [[nodiscard]] Status Flush() override;
  [[nodiscard]] uint64_t size() const override;
  [[nodiscard]] const std::string& name() const override { return path_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct FreeBuffer {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{kBlockSize}); }
  };
  static constexpr size_t kBounceSize = 1 << 20;

  FileDevice(Fd fd, std::string path, bool direct)
      : fd_(std::move(fd)), path_(std::move(path)), direct_(direct) {}
  [[nodiscard]] bool NeedsBounce(const std::byte* data) const;
  std::byte* Bounce();

  Fd fd_;
  std::string path_;
  bool direct_;
  std::unique_ptr<std::byte[], FreeBuffer> bounce_;  // kBounceSize, made when needed
};

}  // namespace ddsnap

#endif  // DDSNAP_IO_FILE_DEVICE_H_
