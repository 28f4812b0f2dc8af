// SPDX-License-Identifier: GPL-2.0
// Verbs and their exit codes, tables, questions, becoming a daemon, and what a
// machine without device-mapper answers.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/fd.h"
#include "cli/command_table.h"
#include "cli/output.h"
#include "dm/dm.h"
#include "io/daemon.h"
#include "unit.h"

using namespace ddsnap;

namespace {

struct Ended {
  int code;  // of the exit; -1: it was killed
  std::string out, err;
};

std::string ReadAll(int fd) {
  std::string text;
  char bytes[4096];
  for (;;) {
    const ssize_t n = ::read(fd, bytes, sizeof bytes);
    if (n <= 0) return text;
    text.append(bytes, static_cast<size_t>(n));
  }
}

// Runs BODY in a child; what it prints is little enough for a pipe.
Ended InChild(const std::function<int()>& body) {
  int out[2], err[2];
  ck_assert_int_eq(::pipe(out), 0);
  ck_assert_int_eq(::pipe(err), 0);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    for (const int fd : {out[0], out[1], err[0], err[1]}) ::close(fd);
    const Fd nothing(::open("/dev/null", O_RDONLY));
    ::dup2(nothing.get(), STDIN_FILENO);
    const int code = body();
    std::fflush(nullptr);
    ::_exit(code);
  }
  ::close(out[1]);
  ::close(err[1]);
  Ended ended;
  ended.out = ReadAll(out[0]);
  ended.err = ReadAll(err[0]);
  ::close(out[0]);
  ::close(err[0]);
  int status = 0;
  ck_assert_int_eq(::waitpid(child, &status, 0), child);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ended;
}

Action Greet(Arguments& args) {
  auto name = std::make_shared<std::string>();
  args.Add("NAME", name.get(), "who").Required();
  return [name]() -> Result<int> {
    if (*name == "nobody") return Fail(ENOENT, "greet: nobody is there");
    if (*name == "thrower") throw std::runtime_error("a library's surprise");
    if (*name == "odd") return 7;
    std::printf("hello %s\n", name->c_str());
    return 0;
  };
}

const Command kGreet = {"greet", {"hail"}, "say hello", Greet};
const Command kDeep = {"group greet", {"group hail", "shallow"}, "say hello deeply", Greet};
const Program kProgram = {"prog", "a program", "1.2", {{"group", "a group"}}};

Ended Call(std::vector<std::string> words) {
  return InChild([&words] {
    std::vector<char*> argv = {const_cast<char*>("prog")};
    for (std::string& word : words) argv.push_back(word.data());
    const Command* const commands[] = {&kGreet, &kDeep};
    return RunProgram(kProgram, commands, static_cast<int>(argv.size()), argv.data());
  });
}

}  // namespace

START_TEST(every_spelling_runs_the_verb) {
  for (const std::vector<std::string>& words : std::initializer_list<std::vector<std::string>>{
           {"greet", "you"}, {"hail", "you"}, {"group", "greet", "you"}, {"group", "hail", "you"},
           {"shallow", "you"}}) {
    const Ended ended = Call(words);
    ck_assert_int_eq(ended.code, 0);
    ck_assert(ended.out == "hello you\n" && ended.err.empty());
  }
  ck_assert_int_eq(Call({"greet", "odd"}).code, 7);
}
END_TEST

START_TEST(errors_are_one_line_and_a_code) {
  const Ended failed = Call({"greet", "nobody"});
  ck_assert_int_eq(failed.code, 1);
  ck_assert_msg(failed.err == "prog: greet: nobody is there\n", "%s", failed.err.c_str());
  const Ended thrown = Call({"greet", "thrower"});
  ck_assert_int_eq(thrown.code, 1);
  ck_assert(thrown.err == "prog: unexpected: a library's surprise\n");
  for (const std::vector<std::string>& words : std::initializer_list<std::vector<std::string>>{
           {}, {"greet"}, {"greet", "a", "b"}, {"group"}, {"nonsense"}, {"greet", "--what", "x"}}) {
    const Ended ended = Call(words);
    ck_assert_int_eq(ended.code, 2);
    ck_assert_msg(ended.err.starts_with("prog: ") && ended.err.find('\n') == ended.err.size() - 1,
                  "%s", ended.err.c_str());
    ck_assert(ended.out.empty());
  }
}
END_TEST

START_TEST(help_and_version_are_answers) {
  const Ended help = Call({"--help"});
  ck_assert_int_eq(help.code, 0);
  ck_assert(help.out.find("say hello") != std::string::npos && help.err.empty());
  ck_assert(help.out.find("hail") == std::string::npos);  // aliases are for those who know them
  const Ended version = Call({"--version"});
  ck_assert_int_eq(version.code, 0);
  ck_assert(version.out.find("1.2") != std::string::npos);
}
END_TEST

START_TEST(columns_are_as_wide_as_they_need) {
  const Ended ended = InChild([] {
    Table table({"NAME", "SIZE"}, {1});
    table.Add({"a", "5"});
    table.Add({"longer", "12345"});
    table.Print();
    return 0;
  });
  ck_assert_msg(ended.out == "NAME     SIZE\na           5\nlonger  12345\n", "%s", ended.out.c_str());
}
END_TEST

// Without a terminal there is nobody to say yes.
START_TEST(no_terminal_means_no) {
  ck_assert_int_eq(InChild([] { return Confirm("Lose it?") ? 1 : 0; }).code, 0);
}
END_TEST

START_TEST(a_daemon_lets_its_parent_go_when_it_is_ready) {
  const Ended ready = InChild([] {
    auto daemon = Daemon::Start(false);
    if (!daemon) return 9;
    std::printf("works\n");
    std::fflush(stdout);
    daemon->Ready();
    ::_exit(5);  // nobody waits for this
  });
  ck_assert_int_eq(ready.code, 0);
  ck_assert(ready.out == "works\n");
  const Ended failed = InChild([] {
    auto daemon = Daemon::Start(false);
    return daemon ? 5 : 9;  // ends before it is ready
  });
  ck_assert_int_eq(failed.code, 5);
  const Ended killed = InChild([] {
    auto daemon = Daemon::Start(false);
    ::kill(::getpid(), SIGKILL);
    return 0;
  });
  ck_assert_int_eq(killed.code, 1);
}
END_TEST

START_TEST(in_the_foreground_nothing_forks) {
  const pid_t here = ::getpid();
  auto daemon = Daemon::Start(true);
  CK_OK(daemon);
  daemon->Ready();
  ck_assert_int_eq(::getpid(), here);
}
END_TEST

START_TEST(device_mapper_answers_or_is_not_there) {
  const Fd control(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
  const bool there = static_cast<bool>(control);
  auto devices = dm::ListDdsnapDevices();
  if (!there) {
    const int code = devices ? 0 : devices.error().code;
    ck_assert_msg(code == ENOENT || code == EACCES || code == ENODEV, "code %d", code);
  } else {
    CK_OK(devices);
  }
  ck_assert(!dm::SendMessage({0, 0}, "nobody"));
}
END_TEST

UNIT_MAIN("cli", every_spelling_runs_the_verb, errors_are_one_line_and_a_code,
          help_and_version_are_answers, columns_are_as_wide_as_they_need, no_terminal_means_no,
          a_daemon_lets_its_parent_go_when_it_is_ready, in_the_foreground_nothing_forks,
          device_mapper_answers_or_is_not_there)
