// SPDX-License-Identifier: GPL-2.0
// A pipeline of three steps over a sequence of items: filled one after the
// other, worked on by several threads at once, drained in order.  Reading,
// computing and writing overlap; memory is bounded by the number of slots.
#ifndef DDSNAP_REPL_ORDERED_WORK_H_
#define DDSNAP_REPL_ORDERED_WORK_H_

#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"

namespace ddsnap::repl {

// Threads that keep both the disks and the processors of this machine busy.
[[nodiscard]] inline unsigned DefaultThreads() {
  const unsigned cores = std::thread::hardware_concurrency();
  return cores < 2 ? 4 : cores > 8 ? 16 : 2 * cores;
}

template <typename Slot>
class OrderedWork {
 public:
  // Slots are made once and used again; two for each thread let the slowest
  // item wait without stopping the others.
  explicit OrderedWork(unsigned threads) : threads_(threads), cells_(2 * threads) {}

  // fill(Slot&) -> Result<bool>: the next item, false: there are no more.  One at a time,
  //     in order, on any thread.
  // work(Slot&) -> Status: on any thread, several at once.
  // drain(Slot&) -> Status: one at a time, in order, on the calling thread.
  // The first error in the order of items is returned; no item after it is
  // drained, all before it are.  May be called again, for another sequence.
  template <typename Fill, typename Work, typename Drain>
  [[nodiscard]] Status Run(Fill fill, Work work, Drain drain) {
    filled_ = drained_ = 0;
    ended_ = stop_ = false;
    for (Cell& cell : cells_) cell.used = cell.done = false;
    std::vector<std::thread> team;
    for (unsigned i = 0; i < threads_; ++i) {
      try {
        team.emplace_back([&] { Worker(fill, work); });
      } catch (const std::system_error&) {
        if (i == 0) return Fail(EAGAIN, "threads: cannot be started");
        break;  // fewer do as well
      }
    }
    Status status = DrainAll(drain);
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    freed_.notify_all();
    for (std::thread& thread : team) thread.join();
    return status;
  }

 private:
  struct Cell {
    Slot slot;
    bool used = false;  // by an item that is not drained yet
    bool done = false;  // its work
    bool last = false;  // no item but the end, or the error of fill
    Status status;
  };

  template <typename Fill, typename Work>
  void Worker(Fill& fill, Work& work) {
    for (;;) {
      Cell* cell = nullptr;
      {
        const std::lock_guard filling(fill_mutex_);
        {
          std::unique_lock lock(mutex_);
          cell = &cells_[filled_ % cells_.size()];
          freed_.wait(lock, [&] { return stop_ || ended_ || !cell->used; });
          if (stop_ || ended_) return;
          cell->used = true;
          ++filled_;
        }
        Result<bool> more = fill(cell->slot);
        if (!more || !*more) {
          Finish(cell, more ? Status() : Status(Pass(more)), true);
          return;
        }
      }
      Status status = work(cell->slot);
      Finish(cell, std::move(status), false);
    }
  }

  void Finish(Cell* cell, Status status, bool last) {
    bool awaited = false;
    {
      const std::lock_guard lock(mutex_);
      awaited = cell == &cells_[drained_ % cells_.size()];
      cell->status = std::move(status);
      cell->last = last;
      cell->done = true;
      if (last) ended_ = true;
    }
    if (awaited) done_.notify_one();
  }

  template <typename Drain>
  Status DrainAll(Drain& drain) {
    for (;;) {
      Cell& cell = cells_[drained_ % cells_.size()];  // changed by this thread only
      {
        std::unique_lock lock(mutex_);
        done_.wait(lock, [&] { return cell.done; });
      }
      // A done cell belongs to this thread alone.
      if (!cell.status) return std::move(cell.status);
      if (cell.last) return {};
      if (Status s = drain(cell.slot); !s) return s;
      {
        const std::lock_guard lock(mutex_);
        cell.done = cell.used = false;
        ++drained_;
      }
      freed_.notify_one();
    }
  }

  const unsigned threads_;
  std::vector<Cell> cells_;
  std::mutex fill_mutex_;  // taken before mutex_
  std::mutex mutex_;       // guards all below and the flags of cells
  // One waits for each at most: for the next item's work, and for a cell to fill.
  std::condition_variable done_;
  std::condition_variable freed_;
  uint64_t filled_ = 0;
  uint64_t drained_ = 0;
  bool ended_ = false;
  bool stop_ = false;
};

}  // namespace ddsnap::repl

#endif  // DDSNAP_REPL_ORDERED_WORK_H_
