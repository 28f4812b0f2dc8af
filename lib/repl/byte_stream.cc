// SPDX-License-Identifier: GPL-2.0
#include "repl/byte_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ddsnap::repl {
namespace {

// What is smaller is gathered before it is written.
constexpr size_t kBuffer = 1 << 20;
// What is read ahead: the heads of records.  Payloads are long and pass it by.
constexpr size_t kReadAhead = 32 << 10;
// How much is written before the kernel is told to start on it, so that the
// disk works while the rest is computed and the last fsync finds little to do.
constexpr uint64_t kPush = 8 << 20;

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status WriteAll(int fd, std::span<const std::byte> data, const std::string& name) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno(errno, name);
    data = data.subspan(static_cast<size_t>(n));
  }
  return {};
}

// A pipe that holds a whole extent, as far as this user may have one: with the usual
// 64 KiB the two ends take turns sixteen times for each.
Fd Widened(int fd) {
  (void)::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(kBuffer));
  return Fd(fd);
}

// Both pieces with one call, where the first one takes them.
Status WriteBoth(int fd, std::span<const std::byte> first, std::span<const std::byte> second,
                 const std::string& name) {
  const iovec pieces[] = {{const_cast<std::byte*>(first.data()), first.size()},
                          {const_cast<std::byte*>(second.data()), second.size()}};
  ssize_t n = 0;
  do {
    n = ::writev(fd, pieces, 2);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return FailErrno(errno, name);
  const size_t done = std::min(static_cast<size_t>(n), first.size());
  if (Status s = WriteAll(fd, first.subspan(done), name); !s) return s;
  return WriteAll(fd, second.subspan(static_cast<size_t>(n) - done), name);
}

}  // namespace

Result<std::unique_ptr<FileSource>> FileSource::Open(const std::string& path) {
  if (path == "-")
    return std::make_unique<FileSource>(Widened(::dup(STDIN_FILENO)), "standard input");
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno(errno, path);
  struct stat st;
  if (::fstat(fd.get(), &st) == 0 && S_ISDIR(st.st_mode)) return FailErrno(EISDIR, path);
  (void)::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::make_unique<FileSource>(std::move(fd), path);
}

FileSource::FileSource(Fd fd, std::string name)
    : fd_(std::move(fd)), name_(std::move(name)), buffer_(kReadAhead) {
  // A descriptor that was handed to us in mid-file cannot start again.
  rewindable_ = ::lseek(fd_.get(), 0, SEEK_CUR) == 0;
}

// Reads into `out` and, where that is filled, on into the buffer.
Result<size_t> FileSource::ReadSome(std::span<std::byte> out) {
  const iovec pieces[] = {{out.data(), out.size()}, {buffer_.data(), buffer_.size()}};
  ssize_t n = 0;
  do {
    n = ::readv(fd_.get(), pieces, 2);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return FailErrno(errno, name_);
  const size_t done = std::min(static_cast<size_t>(n), out.size());
  begin_ = 0;
  end_ = static_cast<size_t>(n) - done;
  return done;
}

Result<size_t> FileSource::Read(std::span<std::byte> out) {
  size_t done = std::min(end_ - begin_, out.size());
  if (done > 0) std::memcpy(out.data(), buffer_.data() + begin_, done);
  begin_ += done;
  while (done < out.size()) {
    auto n = ReadSome(out.subspan(done));
    if (!n) return Pass(n);
    if (*n == 0) break;
    done += *n;
  }
  return done;
}

Status FileSource::Rewind() {
  if (::lseek(fd_.get(), 0, SEEK_SET) != 0) return FailErrno(errno, name_);
  begin_ = end_ = 0;
  return {};
}

Result<std::unique_ptr<FileSink>> FileSink::Create(const std::string& path) {
  if (path == "-") {
    return std::unique_ptr<FileSink>(
        new FileSink(Widened(::dup(STDOUT_FILENO)), "standard output"));
  }
  struct stat st;
  if (::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) {
    // Truncating a device or a pipe by rename would surprise; a block device
    // as the place of a delta is most likely a mistake.
    if (S_ISBLK(st.st_mode)) return Fail(EINVAL, path + ": is a block device");
    Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return FailErrno(errno, path);
    return std::unique_ptr<FileSink>(new FileSink(std::move(fd), path));
  }
  std::string temporary;
  Fd fd(::open(FolderOf(path).c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666));
  if (!fd) {
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return FailErrno(errno, path);
    temporary = path + ".XXXXXX";
    fd.Reset(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd) return FailErrno(errno, path);
  }
  std::unique_ptr<FileSink> sink(new FileSink(std::move(fd), path));
  sink->temporary_ = std::move(temporary);
  sink->replace_ = true;
  return sink;
}

FileSink::~FileSink() {
  if (!temporary_.empty()) (void)::unlink(temporary_.c_str());
}

Status FileSink::Write(std::span<const std::byte> data) {
  if (buffer_.size() + data.size() > kBuffer) {
    const bool large = data.size() >= kBuffer / 2;
    if (Status s = WriteOut(large ? data : std::span<const std::byte>()); !s || large) return s;
  }
  buffer_.insert(buffer_.end(), data.begin(), data.end());
  return {};
}

// Writes what was gathered, then `data`.
Status FileSink::WriteOut(std::span<const std::byte> data) {
  if (Status s = WriteBoth(fd_.get(), buffer_, data, name_); !s) return s;
  written_ += buffer_.size() + data.size();
  buffer_.clear();
  if (replace_ && written_ - pushed_ >= kPush) {
    // Only a hint: the result that counts is fsync's.
    (void)::sync_file_range(fd_.get(), static_cast<off_t>(pushed_),
                            static_cast<off_t>(written_ - pushed_), SYNC_FILE_RANGE_WRITE);
    pushed_ = written_;
  }
  return {};
}

Status FileSink::Commit() {
  if (Status s = WriteOut({}); !s) return s;
  if (!replace_) return {};
  if (::fsync(fd_.get()) != 0) return FailErrno(errno, name_);
  if (temporary_.empty()) {
    // link() does not replace: a name of our own first, then rename.
    temporary_ = name_ + "." + std::to_string(::getpid());
    const std::string self = "/proc/self/fd/" + std::to_string(fd_.get());
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      const int code = errno;
      temporary_.clear();
      return FailErrno(code, name_);
    }
  } else {
    const mode_t mask = ::umask(0);
    (void)::umask(mask);
    if (::fchmod(fd_.get(), 0666 & ~mask) != 0) return FailErrno(errno, name_);
  }
  if (::rename(temporary_.c_str(), name_.c_str()) != 0) return FailErrno(errno, name_);
  temporary_.clear();
  const Fd folder(::open(FolderOf(name_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return FailErrno(errno, FolderOf(name_));
  return {};
}

Status FdSink::Write(std::span<const std::byte> data) { return WriteAll(fd_.get(), data, name_); }

Result<std::unique_ptr<ScratchFile>> ScratchFile::Create(const std::string& name) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder != nullptr ? folder : "/var/tmp") + "/ddsnap-XXXXXX";
  Fd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return FailErrno(errno, path);
  (void)::unlink(path.c_str());
  return std::unique_ptr<ScratchFile>(new ScratchFile(std::move(fd), name));
}

Status ScratchFile::Write(std::span<const std::byte> data) {
  buffer_.insert(buffer_.end(), data.begin(), data.end());
  if (buffer_.size() < kBuffer) return {};
  Status s = WriteAll(fd_.get(), buffer_, name_);
  buffer_.clear();
  return s;
}

Result<std::unique_ptr<FileSource>> ScratchFile::Read() {
  if (Status s = WriteAll(fd_.get(), buffer_, name_); !s) return Pass(s);
  buffer_.clear();
  // The two share their place in the file.
  if (::lseek(fd_.get(), 0, SEEK_SET) != 0) return FailErrno(errno, name_);
  Fd again(::dup(fd_.get()));
  if (!again) return FailErrno(errno, name_);
  return std::make_unique<FileSource>(std::move(again), name_);
}

Result<size_t> MemorySource::Read(std::span<std::byte> out) {
  const size_t n = std::min(out.size(), data_.size() - at_);
  if (n > 0) std::memcpy(out.data(), data_.data() + at_, n);
  at_ += n;
  return n;
}

Status MemorySource::Rewind() {
  if (!rewindable_) return Fail(ESPIPE, name_ + ": cannot be read twice");
  at_ = 0;
  return {};
}

}  // namespace ddsnap::repl
