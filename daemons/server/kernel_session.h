// SPDX-License-Identifier: GPL-2.0
// The link to the kernel's side of the volume, from HELLO on.
#ifndef DDSNAP_SERVER_KERNEL_SESSION_H_
#define DDSNAP_SERVER_KERNEL_SESSION_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "session.h"
#include "store/snapstore.h"

namespace ddsnap::server {

class KernelSession : public Peer {
 public:
  KernelSession(Server& server, Session& session) : server_(server), session_(session) {}

  [[nodiscard]] Status OnFrame(const wire::Frame& frame) override;
  void OnCommitted() override;
  void OnCommitFailed(const Error& why) override;
  void OnClosed(const std::string& why) override;
  [[nodiscard]] bool is_kernel() const override { return true; }
  // nullopt while a barrier is up, or when the kernel has not been told everything.
  [[nodiscard]] std::optional<wire::KeptLink> Link() const override;

  // Instead of HELLO: goes on with the link of an earlier server, if nothing has changed.
  [[nodiscard]] Status Continue(const wire::KeptLink& link);

  // What the server asks or tells; all held to the end of the turn.
  void SendBarrier(uint64_t id);
  void SendResume(uint64_t id);  // with the store's epoch and live, as staged
  void SendDrop(Epoch snapshot);
  void SendGrant(std::span<const Range> ranges);
  void SendDenied();
  void SendAbandon(const Error& why);
  // Acknowledges, at the end of the turn, what was recorded so far under the
  // present epoch: to be called before a new one is staged.
  void FlushAck();

  void Close();

  // What the kernel sees, as its HELLO said.
  [[nodiscard]] uint64_t origin_sectors() const { return origin_sectors_; }
  [[nodiscard]] uint64_t store_sectors() const { return store_sectors_; }

  // Devices of a snapshot (0: of the origin) that are active.
  [[nodiscard]] uint32_t Attached(Epoch snapshot) const;
  [[nodiscard]] const std::map<Epoch, uint32_t>& attached() const { return attached_; }

 private:
  [[nodiscard]] Status Greet(const wire::Hello& hello);
  [[nodiscard]] Status Check(const wire::Hello& hello) const;
  [[nodiscard]] Status Attach(Epoch snapshot);
  [[nodiscard]] Status Detach(Epoch snapshot);
  [[nodiscard]] Status Report(const wire::Frame& frame);
  [[nodiscard]] Status Record(const wire::Report& report);
  [[nodiscard]] Status Map(const wire::Map& request);
  [[nodiscard]] Status GrantWanted(uint64_t chunks);
  void Return(const wire::Frame& frame);
  void Heard();
  template <typename M>
  void Hold(const M& message);

  Server& server_;
  Session& session_;
  wire::Hello hello_;  // as checked
  bool welcome_ = false;
  bool told_ = false;  // WELCOME has gone out
  bool refused_ = false;
  uint64_t origin_sectors_ = 0;
  uint64_t store_sectors_ = 0;
  bool grants_settled_ = false;  // grants of earlier links have been freed
  std::map<Epoch, uint32_t> attached_;
  uint64_t recorded_ = 0;  // number of the last record staged on this link
  uint64_t acked_ = 0;
};

}  // namespace ddsnap::server

#endif  // DDSNAP_SERVER_KERNEL_SESSION_H_
