// SPDX-License-Identifier: GPL-2.0
// Takes a snapshot of an active thin volume as LVM does it, in one process:
// suspend the volume, tell the pool to create the snapshot, resume.  Three runs
// of dmsetup would count their start-up into dm-thin's pause.
//   bench-thin-snap VOLUME POOL VOLUME_ID SNAPSHOT_ID
#include <libdevmapper.h>

#include <cstdio>
#include <string>

namespace {

bool Run(int type, const char* name, const char* message) {
  dm_task* task = dm_task_create(type);
  if (task == nullptr) return false;
  bool ok = dm_task_set_name(task, name) != 0;
  if (message != nullptr) ok = ok && dm_task_set_sector(task, 0) && dm_task_set_message(task, message);
  ok = ok && dm_task_run(task) != 0;
  dm_task_destroy(task);
  return ok;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: bench-thin-snap VOLUME POOL VOLUME_ID SNAPSHOT_ID\n");
    return 2;
  }
  dm_udev_set_sync_support(0);
  std::string message = std::string("create_snap ") + argv[4] + " " + argv[3];
  if (!Run(DM_DEVICE_SUSPEND, argv[1], nullptr)) return 1;
  bool created = Run(DM_DEVICE_TARGET_MSG, argv[2], message.c_str());
  bool resumed = Run(DM_DEVICE_RESUME, argv[1], nullptr);
  return created && resumed ? 0 : 1;
}
