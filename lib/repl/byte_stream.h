// SPDX-License-Identifier: GPL-2.0
// Where the bytes of a stream come from and go to: files, pipes, sockets,
// memory.
//
// Thread rule: one thread at a time for each object.
#ifndef DDSNAP_REPL_BYTE_STREAM_H_
#define DDSNAP_REPL_BYTE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace ddsnap::repl {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Reads at most out.size() bytes; fewer only at the end of the stream.
  [[nodiscard]] virtual Result<size_t> Read(std::span<std::byte> out) = 0;
  // True if Rewind can start again from the first byte.
  [[nodiscard]] virtual bool rewindable() const = 0;
  [[nodiscard]] virtual Status Rewind() = 0;
  // For messages.
  [[nodiscard]] virtual const std::string& name() const = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  [[nodiscard]] virtual Status Write(std::span<const std::byte> data) = 0;
  [[nodiscard]] virtual const std::string& name() const = 0;
};

// An open descriptor, read through a buffer.
class FileSource : public ByteSource {
 public:
  // "-" is standard input.
  [[nodiscard]] static Result<std::unique_ptr<FileSource>> Open(const std::string& path);
  FileSource(Fd fd, std::string name);

  [[nodiscard]] Result<size_t> Read(std::span<std::byte> out) override;
  [[nodiscard]] bool rewindable() const override { return rewindable_; }
  [[nodiscard]] Status Rewind() override;
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  [[nodiscard]] Result<size_t> ReadSome(std::span<std::byte> out);

  Fd fd_;
  std::string name_;
  bool rewindable_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;  // of what is unread in buffer_
  size_t end_ = 0;
};

// A file that appears under its name, whole and durable, when Commit returns;
// before that, and if Commit is never called, the name is what it was.
// "-" and names of what is no regular file are written to directly.
class FileSink : public ByteSink {
 public:
  [[nodiscard]] static Result<std::unique_ptr<FileSink>> Create(const std::string& path);
  ~FileSink() override;

  [[nodiscard]] Status Write(std::span<const std::byte> data) override;
  [[nodiscard]] Status Commit();
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  FileSink(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  [[nodiscard]] Status WriteOut(std::span<const std::byte> data);

  Fd fd_;
  std::string name_;
  std::string temporary_;  // its name before Commit; empty: none (O_TMPFILE)
  bool replace_ = false;   // Commit has a name to give
  std::vector<std::byte> buffer_;
  uint64_t written_ = 0;
  uint64_t pushed_ = 0;  // of `written_`: the kernel was told to start on it
};

// An open descriptor, written to at once: a pipe, a socket.
class FdSink : public ByteSink {
 public:
  FdSink(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  [[nodiscard]] Status Write(std::span<const std::byte> data) override;
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  Fd fd_;
  std::string name_;
};

// A file without a name, to be written and then read as often as needed.
class ScratchFile : public ByteSink {
 public:
  // In $TMPDIR or /var/tmp.
  [[nodiscard]] static Result<std::unique_ptr<ScratchFile>> Create(const std::string& name);
  [[nodiscard]] Status Write(std::span<const std::byte> data) override;
  [[nodiscard]] const std::string& name() const override { return name_; }
  // What was written, from its beginning; one reader at a time.
  [[nodiscard]] Result<std::unique_ptr<FileSource>> Read();

 private:
  ScratchFile(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Fd fd_;
  std::string name_;
  std::vector<std::byte> buffer_;
};

class MemorySource : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> data, bool rewindable = true)
      : data_(data), rewindable_(rewindable) {}
  [[nodiscard]] Result<size_t> Read(std::span<std::byte> out) override;
  [[nodiscard]] bool rewindable() const override { return rewindable_; }
  [[nodiscard]] Status Rewind() override;
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::span<const std::byte> data_;
  bool rewindable_;
  size_t at_ = 0;
  std::string name_ = "memory";
};

class MemorySink : public ByteSink {
 public:
  [[nodiscard]] Status Write(std::span<const std::byte> data) override {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    return {};
  }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  std::string name_ = "memory";
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_BYTE_STREAM_H_
