// SPDX-License-Identifier: GPL-2.0
// Folders of deltas: what may be written next, what can be restored, what is removed.
//
// With the words "make DIR CONTENTS" it makes a folder, and the contents of its
// snapshots, for test_restore.sh.
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "delta_chain.h"
#include "lib/temp_folder.h"

using namespace ddsnap;
using namespace ddsnap::unit;
using ddsnap::test::TempFolder;
namespace fs = std::filesystem;

namespace {

constexpr char kFull1[] = "0000000010-full.delta";
constexpr char kDelta2[] = "0000000020-from-0000000010.delta";
constexpr char kDelta3[] = "0000000030-from-0000000020.delta";

DeltaFolder OpenFolder(const std::string& path, const DeltaChain& chain) {
  auto folder = DeltaFolder::Open(path, chain.volume());
  CK_OK(folder);
  return std::move(*folder);
}

DeltaFolder OpenToRead(const std::string& path) {
  auto folder = DeltaFolder::OpenToRead(path);
  CK_OK(folder);
  return std::move(*folder);
}

void Chop(const std::string& path, uintmax_t bytes) {
  fs::resize_file(path, fs::file_size(path) - bytes);
}

void Overwrite(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

void WriteFile(const std::string& path, const Bytes& content) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
}

// Fails with the code, in one line that has the words.
template <typename T>
void CheckFails(const Result<T>& result, int code, const std::vector<std::string>& words) {
  ck_assert(!result);
  const Error& error = result.error();
  ck_assert_msg(error.code == code, "%d instead of %d: %s", error.code, code, error.text.c_str());
  ck_assert_msg(error.text.find('\n') == std::string::npos, "%s", error.text.c_str());
  for (const std::string& word : words) {
    ck_assert_msg(error.text.find(word) != std::string::npos, "'%s' lacks '%s'", error.text.c_str(),
                  word.c_str());
  }
}

// The tags that can be restored, in order.
std::vector<Tag> Tags(const DeltaFolder& folder) {
  std::vector<Tag> tags;
  for (const repl::SnapshotId& id : folder.snapshots()) tags.push_back(id.tag);
  return tags;
}

// The names of the chain's files.
std::vector<std::string> Chain(const DeltaFolder& folder, const repl::SnapshotId& id) {
  auto chain = folder.ChainTo(id);
  CK_OK(chain);
  std::vector<std::string> names;
  for (const DeltaFile& file : *chain) names.push_back(fs::path(file.path).filename());
  return names;
}

// Three snapshots: a full delta and two that go on.
struct Three {
  TempFolder temp;
  std::string dir = temp / "deltas";
  DeltaChain chain{7, 1};

  Three() {
    for (int i = 0; i < 3; ++i) chain.Next(300'000);
    DeltaFolder folder = OpenFolder(dir, chain);
    CK_OK(chain.Write(folder, 0, 1));
    CK_OK(chain.Write(folder, 1, 2));
    CK_OK(chain.Write(folder, 2, 3));
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return dir + "/" + name; }
};

START_TEST(grows) {
  const TempFolder temp;
  DeltaChain chain(7, 1);
  for (int i = 0; i < 3; ++i) chain.Next(300'000);
  const std::string dir = temp / "deltas";
  CheckFails(DeltaFolder::OpenToRead(dir), ENOENT, {dir});
  CheckFails(DeltaFolder::Open(temp / "none/deltas", chain.volume()), ENOENT, {"none/deltas"});
  DeltaFolder folder = OpenFolder(dir, chain);
  struct stat st;
  ck_assert_int_eq(::stat(dir.c_str(), &st), 0);
  ck_assert_int_eq(st.st_mode & 07777, 0700);
  ck_assert(!folder.newest());
  ck_assert(folder.NeedsFull());
  CheckFails(folder.Create(chain.Id(1), chain.Id(2)), ESTALE, {"snapshot 1 (epoch 10)"});
  CheckFails(folder.Latest(), ENOENT, {dir});

  CK_OK(chain.Write(folder, 0, 1));
  ck_assert(folder.newest() == chain.Id(1));
  CheckFails(folder.Create(chain.Id(2), chain.Id(3)), ESTALE, {"holds snapshot 1", "snapshot 2"});
  CheckFails(folder.Create(chain.Id(1), chain.Id(1)), EINVAL, {"not newer"});
  CK_OK(chain.Write(folder, 1, 2));
  CheckFails(folder.Create(std::nullopt, chain.Id(1)), EINVAL, {"not newer"});
  ck_assert(!folder.NeedsFull(2));
  ck_assert(folder.NeedsFull(1));
  CK_OK(chain.Write(folder, 2, 3));
  ck_assert(folder.newest() == chain.Id(3));
  ck_assert(Tags(folder) == (std::vector<Tag>{1, 2, 3}));
  ck_assert(Chain(folder, chain.Id(3)) == (std::vector<std::string>{kFull1, kDelta2, kDelta3}));

  // One that is not committed, or another's, is not there.
  const DeltaFolder again = OpenToRead(dir);
  ck_assert(again.volume() == chain.volume());
  CK_OK(again.Latest());
  ck_assert(*again.Latest() == chain.Id(3));
  ck_assert(again.unusable().empty());
}
END_TEST

START_TEST(uncommitted_is_absent) {
  Three three;
  three.chain.Next(300'000);
  {
    DeltaFolder folder = OpenFolder(three.dir, three.chain);
    auto sink = folder.Create(three.chain.Id(3), three.chain.Id(4));
    CK_OK(sink);
    CK_OK(three.chain.Stream(**sink, 3, 4));
  }
  ck_assert(OpenToRead(three.dir).newest() == three.chain.Id(3));
}
END_TEST

// Who looks into a folder that is not mounted must not make it one that merely has no deltas yet.
START_TEST(looking_is_not_using) {
  const TempFolder temp;
  ck_assert(!DeltaFolder::IsUsed(temp / "nowhere"));
  ck_assert(!DeltaFolder::IsUsed(temp.path()));
  (void)OpenToRead(temp.path());
  ck_assert(!DeltaFolder::IsUsed(temp.path()));
  const Three three;
  ck_assert(DeltaFolder::IsUsed(three.dir));
  // One whose deltas were removed, or that has got none yet; and a copy of the deltas alone.
  { const DeltaFolder writer = OpenFolder(temp.path(), three.chain); }
  ck_assert(DeltaFolder::IsUsed(temp.path()));
  const std::string copy = temp / "copy";
  fs::create_directory(copy);
  fs::copy_file(three.dir + "/" + kFull1, copy + "/moved.delta");
  ck_assert(DeltaFolder::IsUsed(copy));
}
END_TEST

START_TEST(leftovers_are_removed) {
  Three three;
  Overwrite(three / "0000000040-from-0000000030.delta.4711", "half");
  Overwrite(three / "0000000040-full.delta.aB3xYz", "half");
  fs::copy_file(three / kFull1, three / (std::string(kFull1) + ".backup"));
  Overwrite(three / "README.delta.123456", "a user's");
  Overwrite(three / "notes", "a user's");
  (void)OpenToRead(three.dir);
  ck_assert(fs::exists(three / "0000000040-full.delta.aB3xYz"));
  const DeltaFolder folder = OpenFolder(three.dir, three.chain);
  ck_assert(!fs::exists(three / "0000000040-from-0000000030.delta.4711"));
  ck_assert(!fs::exists(three / "0000000040-full.delta.aB3xYz"));
  ck_assert(fs::exists(three / (std::string(kFull1) + ".backup")));
  ck_assert(fs::exists(three / "README.delta.123456"));
  ck_assert(fs::exists(three / "notes"));
  ck_assert(Tags(folder) == (std::vector<Tag>{1, 2, 3}));
}
END_TEST

START_TEST(one_writer) {
  Three three;
  {
    const DeltaFolder folder = OpenFolder(three.dir, three.chain);
    CheckFails(DeltaFolder::Open(three.dir, three.chain.volume()), EBUSY, {three.dir, "in use"});
    (void)OpenToRead(three.dir);
  }
  (void)OpenFolder(three.dir, three.chain);
  DeltaFolder reader = OpenToRead(three.dir);
  CheckFails(reader.Create(std::nullopt, three.chain.Id(3)), EBADF, {"for reading"});
  CheckFails(reader.Prune(1), EBADF, {"for reading"});
}
END_TEST

START_TEST(order_is_in_the_heads) {
  Three three;
  fs::rename(three / kFull1, three / "z.delta");
  fs::rename(three / kDelta3, three / "a.delta");
  fs::last_write_time(three / "z.delta", fs::file_time_type::clock::now());
  const DeltaFolder folder = OpenToRead(three.dir);
  ck_assert(Chain(folder, three.chain.Id(3)) ==
            (std::vector<std::string>{"z.delta", kDelta2, "a.delta"}));
}
END_TEST

START_TEST(missing_link) {
  Three three;
  fs::remove(three / kDelta2);
  const DeltaFolder folder = OpenToRead(three.dir);
  ck_assert(Tags(folder) == std::vector<Tag>{1});
  ck_assert(folder.newest() == three.chain.Id(1));
  CheckFails(folder.ChainTo(three.chain.Id(3)), ENOENT,
             {"snapshot 3 (epoch 30) cannot", "makes snapshot 2 (epoch 20)", kDelta3});
  CheckFails(folder.WithTag(2), ENOENT, {"no snapshot 2"});
  CK_OK(folder.ChainTo(three.chain.Id(1)));
}
END_TEST

START_TEST(damaged_head) {
  Three three;
  Overwrite(three / kDelta2, "this is no delta");
  Overwrite(three / "empty.delta", "");
  const DeltaFolder folder = OpenToRead(three.dir);
  ck_assert_uint_eq(folder.unusable().size(), 2);
  CheckFails(folder.ChainTo(three.chain.Id(3)), ENOENT, {kDelta2, "and 1 more"});
  CheckFails(folder.Latest(), EBADMSG, {kDelta2, "--tag"});
  ck_assert(Chain(folder, three.chain.Id(1)) == std::vector<std::string>{kFull1});
}
END_TEST

START_TEST(truncated) {
  Three three;
  Chop(three / kDelta3, 1);
  DeltaFolder folder = OpenFolder(three.dir, three.chain);
  ck_assert(Tags(folder) == (std::vector<Tag>{1, 2}));
  ck_assert(folder.newest() == three.chain.Id(2));
  // To read it is the only way to learn what it lacks.
  ck_assert_uint_eq(Chain(folder, three.chain.Id(3)).size(), 3);
  // It is sent again, or the folder goes on beside it.
  three.chain.Next(200'000);
  CK_OK(three.chain.Write(folder, 2, 4));
  ck_assert(Tags(folder) == (std::vector<Tag>{1, 2, 4}));
  ck_assert_uint_eq(Chain(folder, three.chain.Id(4)).size(), 3);
  fs::remove(three / "0000000040-from-0000000020.delta");
  CK_OK(folder.Refresh());
  CK_OK(three.chain.Write(folder, 2, 3));
  ck_assert(Tags(folder) == (std::vector<Tag>{1, 2, 3}));
}
END_TEST

START_TEST(two_in_one_place) {
  Three three;
  fs::copy_file(three / kDelta2, three / "copy.delta");
  {
    DeltaFolder folder = OpenFolder(three.dir, three.chain);
    CheckFails(folder.ChainTo(three.chain.Id(3)), EEXIST, {kDelta2, "copy.delta", "snapshot 2"});
    ck_assert(Tags(folder) == std::vector<Tag>{1});
    // To go on from 1 would make it three; a full one is needed, and heals.
    ck_assert(!folder.newest());
    ck_assert(folder.NeedsFull());
    three.chain.Next(200'000);
    CK_OK(three.chain.Write(folder, 0, 4));
    ck_assert(folder.newest() == three.chain.Id(4));
    ck_assert(Tags(folder) == (std::vector<Tag>{1, 4}));
  }
  fs::remove(three / "copy.delta");
  // From the same base to another target.
  {
    repl::MemorySink sink;
    CK_OK(three.chain.Stream(sink, 1, 4));
    WriteFile(three / "fork.delta", sink.bytes());
  }
  const DeltaFolder folder = OpenToRead(three.dir);
  CheckFails(folder.ChainTo(three.chain.Id(3)), EEXIST,
             {kDelta2, "fork.delta", "both go on from snapshot 1 (epoch 10)"});
  ck_assert_uint_eq(Chain(folder, three.chain.Id(4)).size(), 1);
}
END_TEST

START_TEST(foreign) {
  Three three;
  DeltaChain other(8, 2);
  other.Next(100'000);
  const TempFolder temp;
  CheckFails(DeltaFolder::Open(three.dir, other.volume()), EINVAL, {three / kFull1, "volume 07"});
  DeltaFolder of_other = OpenFolder(temp.path(), other);
  CK_OK(other.Write(of_other, 0, 1));
  fs::copy_file(temp / kFull1, three / "odd.delta");
  CheckFails(DeltaFolder::OpenToRead(three.dir), EINVAL, {"odd.delta", "volume 08"});
  CheckFails(DeltaFolder::Open(three.dir, three.chain.volume()), EINVAL, {"odd.delta"});
}
END_TEST

START_TEST(shortest_chain) {
  Three three;
  DeltaFolder folder = OpenFolder(three.dir, three.chain);
  CK_OK(three.chain.Write(folder, 0, 3));
  ck_assert(folder.newest() == three.chain.Id(3));
  ck_assert(!folder.NeedsFull(1));
  ck_assert(Chain(folder, three.chain.Id(3)) == std::vector<std::string>{"0000000030-full.delta"});
  ck_assert_uint_eq(Chain(folder, three.chain.Id(2)).size(), 2);
  Chop(three / "0000000030-full.delta", 1);
  CK_OK(folder.Refresh());
  ck_assert_uint_eq(Chain(folder, three.chain.Id(3)).size(), 3);
}
END_TEST

START_TEST(prune_by_chains) {
  Three three;
  three.chain.Next(300'000);
  three.chain.Next(300'000);
  DeltaFolder folder = OpenFolder(three.dir, three.chain);
  CK_OK(three.chain.Write(folder, 0, 4));
  CK_OK(three.chain.Write(folder, 4, 5));
  // An old one that leads nowhere, and one that cannot be read.
  Overwrite(three / "broken.delta", "x");
  const auto prune = [&folder](size_t keep) {
    auto removed = folder.Prune(keep);
    CK_OK(removed);
    return *removed;
  };
  ck_assert_uint_eq(prune(5), 0);
  {
    const DeltaFolder reader = OpenToRead(three.dir);
    ck_assert_uint_eq(prune(2), 0);
    ck_assert_uint_eq(Tags(reader).size(), 5);
  }
  ck_assert_uint_eq(prune(4), 0);  // 2 needs 1
  ck_assert_uint_eq(prune(3), 0);
  ck_assert_uint_eq(prune(2), 3);
  ck_assert(Tags(folder) == (std::vector<Tag>{4, 5}));
  ck_assert_uint_eq(prune(0), 0);  // 5 needs 4
  ck_assert(folder.newest() == three.chain.Id(5));
  ck_assert(fs::exists(three / "broken.delta"));
}
END_TEST

START_TEST(prune_leaves_what_is_newer) {
  Three three;
  three.chain.Next(300'000);
  DeltaFolder folder = OpenFolder(three.dir, three.chain);
  CK_OK(three.chain.Write(folder, 3, 4));
  // 4 is out of reach, but whoever finds the delta to 3 again may have it.
  fs::rename(three / kDelta3, three.temp / kDelta3);
  auto removed = folder.Prune(1);
  CK_OK(removed);
  ck_assert_uint_eq(*removed, 0);
  three.chain.Next(300'000);
  CK_OK(three.chain.Write(folder, 0, 5));
  removed = folder.Prune(2);  // 2 and 5
  CK_OK(removed);
  ck_assert_uint_eq(*removed, 0);
  fs::rename(three.temp / kDelta3, three / kDelta3);
  CK_OK(folder.Refresh());
  ck_assert(Tags(folder) == (std::vector<Tag>{1, 2, 3, 4, 5}));
}
END_TEST

const char* make_dir = nullptr;
const char* make_contents = nullptr;

// Two chains: 1, 2, 3 (larger), 4 (smaller again); 5, 6.  Another volume's 1 in CONTENTS/foreign.
START_TEST(make) {
  DeltaChain chain(7, 42);
  DeltaFolder folder = OpenFolder(make_dir, chain);
  constexpr uint64_t kSizes[] = {1 << 20, 1 << 20, 3 << 20, 2 << 20, 2 << 20, 2 << 20};
  constexpr Tag kBases[] = {0, 1, 2, 3, 0, 5};
  const std::string contents = make_contents;
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    const Tag tag = chain.Next(kSizes[i]).tag;
    CK_OK(chain.Write(folder, kBases[i], tag));
    WriteFile(contents + "/" + std::to_string(tag), chain.Content(tag));
  }
  DeltaChain other(8, 43);
  other.Next(1 << 20);
  repl::MemorySink sink;
  CK_OK(other.Stream(sink, 0, 1));
  WriteFile(contents + "/foreign", sink.bytes());
}
END_TEST

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "make") == 0) {
    make_dir = argv[2];
    make_contents = argv[3];
    return unit::Run("make", {make});
  }
  return unit::Run(
      "delta_folder",
      {grows, uncommitted_is_absent, looking_is_not_using, leftovers_are_removed, one_writer,
       order_is_in_the_heads, missing_link, damaged_head, truncated, two_in_one_place, foreign,
       shortest_chain, prune_by_chains, prune_leaves_what_is_newer});
}
