// SPDX-License-Identifier: GPL-2.0
// lib/io on files, sockets and the event loop; the disk that loses power.
#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <random>
#include <set>

#include "io/device_number.h"
#include "io/event_loop.h"
#include "io/file_device.h"
#include "io/mem_device.h"
#include "io/signature.h"
#include "io/unix_socket.h"
#include "lib/fault_device.h"
#include "lib/temp_folder.h"
#include "unit.h"

using namespace ddsnap;
using test::TempFolder;

namespace {

constexpr uint64_t kBlock = BlockDevice::kBlockSize;

std::string MakeFile(const TempFolder& folder, const std::string& name, uint64_t size) {
  const std::string path = folder / name;
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT, 0600));
  ck_assert(fd && ::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
  return path;
}

// Any device, with buffers that are aligned and ones that are not.
void WritesAndReads(BlockDevice& device) {
  std::mt19937 random(1);
  std::vector<std::byte> model(device.size());
  std::vector<std::byte> room(8 * kBlock + 1);
  for (int i = 0; i < 200; ++i) {
    const uint64_t blocks = 1 + random() % 8;
    const uint64_t at = random() % (device.size() / kBlock - blocks + 1) * kBlock;
    const auto data = std::span(room).subspan(random() % 2, blocks * kBlock);
    for (std::byte& b : data) b = static_cast<std::byte>(random());
    CK_OK(device.Write(at, data));
    std::copy(data.begin(), data.end(), model.begin() + static_cast<ptrdiff_t>(at));
    if (i % 10 == 0) CK_OK(device.Flush());
  }
  std::vector<std::byte> all(device.size());
  CK_OK(device.Read(0, all));
  ck_assert(all == model);
  ck_assert(!device.Read(device.size(), std::span(room).first(kBlock)));
}

}  // namespace

START_TEST(devices_hold_what_was_written) {
  MemDevice memory(1 << 20);
  WritesAndReads(memory);
  const TempFolder folder;
  const std::string path = MakeFile(folder, "disk", 1 << 20);
  for (const bool direct : {true, false}) {
    auto file = FileDevice::Open(path, {.direct = direct});
    CK_OK(file);
    ck_assert_uint_eq((*file)->size(), 1 << 20);
    WritesAndReads(**file);
  }
}
END_TEST

START_TEST(opening_says_what_is_wrong) {
  const TempFolder folder;
  auto absent = FileDevice::Open(folder / "absent", {});
  ck_assert(!absent && absent.error().code == ENOENT);
  auto no_device = FileDevice::Open(folder.path(), {});
  ck_assert(!no_device && no_device.error().code == ENOTBLK);
  const std::string path = MakeFile(folder, "disk", kBlock);
  auto reader = FileDevice::Open(path, {.write = false});
  CK_OK(reader);
  std::vector<std::byte> block(kBlock);
  ck_assert(!(*reader)->Write(0, block));
}
END_TEST

START_TEST(a_locked_device_is_in_use) {
  const TempFolder folder;
  const std::string path = MakeFile(folder, "disk", kBlock);
  {
    auto first = FileDevice::Open(path, {.lock = true});
    CK_OK(first);
    for (const bool write : {true, false}) {
      auto second = FileDevice::Open(path, {.write = write, .lock = true});
      ck_assert(!second && second.error().code == EBUSY);
    }
  }
  // Readers share it.
  auto first = FileDevice::Open(path, {.write = false, .lock = true});
  CK_OK(first);
  CK_OK(FileDevice::Open(path, {.write = false, .lock = true}));
  ck_assert(!FileDevice::Open(path, {.lock = true}));
}
END_TEST

START_TEST(files_have_numbers_and_sizes) {
  const TempFolder folder;
  const std::string a = MakeFile(folder, "a", 12345);
  const std::string b = MakeFile(folder, "b", 1);
  auto first = NumberOf(a);
  CK_OK(first);
  ck_assert(*first == *NumberOf(a) && *first != *NumberOf(b));
  ck_assert_uint_eq(*SizeOf(a), 12345);
  ck_assert(!NumberOf(folder / "c") && !SizeOf(folder / "c"));
}
END_TEST

START_TEST(an_empty_device_has_no_signature) {
  const TempFolder folder;
  const std::string path = MakeFile(folder, "disk", 4 << 20);
  auto none = FindSignature(path);
  CK_OK(none);
  ck_assert_str_eq(none->c_str(), "");
  // The magic of ext2 and what libblkid wants beside it.
  const Fd fd(::open(path.c_str(), O_RDWR));
  const uint8_t magic[] = {0x53, 0xef};
  const uint8_t revision[] = {1, 0, 0, 0};
  ck_assert_int_eq(::pwrite(fd.get(), magic, 2, 1024 + 56), 2);
  ck_assert_int_eq(::pwrite(fd.get(), revision, 4, 1024 + 76), 4);
  auto ext = FindSignature(path);
  CK_OK(ext);
  ck_assert_str_eq(ext->c_str(), "ext2");
}
END_TEST

START_TEST(sockets_find_each_other) {
  const TempFolder folder;
  for (const std::string& name : {folder / "sock", std::string("@ddsnap-test-") + folder.path()}) {
    auto listener = ListenUnix(name);
    CK_OK(listener);
    auto client = ConnectUnix(name, false);
    CK_OK(client);
    auto server = AcceptUnix(listener->get());
    CK_OK(server);
    ck_assert_int_eq(::send(client->get(), "x", 1, 0), 1);
    char byte = 0;
    while (::recv(server->get(), &byte, 1, 0) < 0) ck_assert(errno == EAGAIN || errno == EINTR);
    ck_assert_int_eq(byte, 'x');
    ck_assert_msg(!ListenUnix(name), "%s was taken twice", name.c_str());
  }
  ck_assert(!ConnectUnix(folder / "nobody", false));
  ck_assert(!ListenUnix(folder / std::string(200, 'n')));
}
END_TEST

// What a killed server leaves behind does not keep the next one from its place.
START_TEST(a_dead_socket_is_replaced) {
  const TempFolder folder;
  const std::string name = folder / "sock";
  { CK_OK(ListenUnix(name)); }
  CK_OK(ListenUnix(name));
}
END_TEST

START_TEST(the_loop_serves_by_priority) {
  auto loop = EventLoop::New();
  CK_OK(loop);
  std::string order;
  auto idle = loop->AddDeferred(EventLoop::kPriorityIdle, [&] { order += 'i'; });
  auto turn = loop->AddDeferred(EventLoop::kPriorityTurn, [&] { order += 't'; });
  int ends[2];
  ck_assert_int_eq(::pipe(ends), 0);
  const Fd read_end(ends[0]), write_end(ends[1]);
  auto input = loop->AddIo(read_end.get(), EPOLLIN, [&](uint32_t) {
    char byte;
    ck_assert_int_eq(::read(read_end.get(), &byte, 1), 1);
    order += byte;
  });
  idle.Arm();
  turn.Arm();
  ck_assert_int_eq(::write(write_end.get(), "ab", 2), 2);
  while (order.size() < 4) ck_assert(loop->RunOnce(1000));
  ck_assert_str_eq(order.c_str(), "abti");
  auto timer = loop->AddTimer([&] { loop->Exit(); });
  timer.ArmAfter(1);
  CK_OK(loop->Run());
}
END_TEST

// After a cut every sector is as of the last flush or of a write since.
START_TEST(a_cut_loses_only_what_was_not_flushed) {
  std::mt19937_64 random(1);
  bool lost = false, kept = false, torn = false;
  for (int round = 0; round < 100; ++round) {
    PowerSwitch power;
    FaultDevice device(power, 4 * kBlock, "disk");
    std::vector<std::byte> block(kBlock, std::byte{1});
    CK_OK(device.Write(0, block));
    CK_OK(device.Flush());
    block.assign(kBlock, std::byte{2});
    CK_OK(device.Write(0, block));
    CK_OK(device.Write(kBlock, block));
    power.CutAt(power.writes());
    ck_assert(!device.Write(2 * kBlock, block));
    ck_assert(!device.Flush());
    device.Settle(random);
    power.On();
    std::vector<std::byte> all(4 * kBlock);
    CK_OK(device.Read(0, all));
    std::set<int> seen;
    for (size_t i = 0; i < kBlock; ++i) {
      const int value = static_cast<int>(all[i]);
      ck_assert_msg(value == 1 || value == 2, "a flushed sector holds %d", value);
      ck_assert(all[i] == all[i / 512 * 512]);
      seen.insert(value);
    }
    lost |= seen.contains(1);
    kept |= seen.contains(2);
    torn |= seen.size() == 2;
    ck_assert(all[3 * kBlock] == std::byte{0});
  }
  ck_assert(lost && kept && torn);
}
END_TEST

UNIT_MAIN("io", devices_hold_what_was_written, opening_says_what_is_wrong, a_locked_device_is_in_use,
          files_have_numbers_and_sizes, an_empty_device_has_no_signature, sockets_find_each_other,
          a_dead_socket_is_replaced, the_loop_serves_by_priority,
          a_cut_loses_only_what_was_not_flushed)
