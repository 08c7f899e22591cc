/*
 * Starts a program with the real /dev/kvm covered: programs that do not load the preload library (static
 * ones, setuid ones) get EACCES there instead of the host's device.
 *
 *   kvm-xen-launch PROGRAM ARGS...
 *
 * Descriptor 3 gets what happened, as `struct report`, and is closed by exec(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { REPORT = 3, COVERED = 1, NOT_COVERED = 2, NOT_STARTED = 3 };

struct report {
  int32_t what, error;
};

static void say(int32_t what, int32_t error) {
  struct report report = {what, error};
  (void)!write(REPORT, &report, sizeof report);
}

static int put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t done = write(fd, text, strlen(text));
  close(fd);
  return done < 0 ? -1 : 0;
}

/* A mount namespace of its own: with root's rights, else in a user namespace in which everybody stays who he is. */
static int own_mounts(void) {
  if (!unshare(CLONE_NEWNS)) return 0;
  if (errno != EPERM) return -1;
  uid_t uid = geteuid();
  gid_t gid = getegid();
  char users[64], groups[64];
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) return -1;
  sprintf(users, "%u %u 1", uid, uid);
  sprintf(groups, "%u %u 1", gid, gid);
  if (put("/proc/self/setgroups", "deny") || put("/proc/self/uid_map", users)) return -1;
  return put("/proc/self/gid_map", groups);
}

/* What is mounted outside is still seen here, not the other way round. */
static int separate(void) { return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL); }

/*
 * The same below a root directory that is no mount point (chroot): from the root of the namespace, which setns(2) leads to. This
 * program does not stay there.
 */
static int separate_all(void) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), here = open(".", O_PATH | O_CLOEXEC);
  int mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (root < 0 || here < 0 || mounts < 0 || setns(mounts, CLONE_NEWNS)) return -1;
  int result = separate(), error = errno;
  if (fchdir(root) || chroot(".") || fchdir(here)) {
    say(NOT_STARTED, errno);
    _exit(127);
  }
  close(root);
  close(here);
  close(mounts);
  errno = error;
  return result;
}

/* The same file, on a mount that has no devices. A user namespace may not take the mount's other flags away. */
static int cover(const char *path) {
  static const struct {
    unsigned long of_file, of_mount;
  } kept[] = {{ST_NOSUID, MS_NOSUID},   {ST_NOEXEC, MS_NOEXEC},         {ST_RDONLY, MS_RDONLY},
              {ST_NOATIME, MS_NOATIME}, {ST_NODIRATIME, MS_NODIRATIME}, {ST_RELATIME, MS_RELATIME}};
  struct statvfs now;
  if (own_mounts()) return -1;
  if (separate() && (errno != EINVAL || separate_all())) return -1;
  if (mount(path, path, NULL, MS_BIND, NULL) || statvfs(path, &now)) return -1;
  unsigned long flags = MS_REMOUNT | MS_BIND | MS_NODEV;
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (now.f_flag & kept[i].of_file) flags |= kept[i].of_mount;
  return mount(NULL, path, NULL, flags, NULL);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  fcntl(REPORT, F_SETFD, FD_CLOEXEC);
  if (cover("/dev/kvm"))
    say(NOT_COVERED, errno);
  else
    say(COVERED, 0);
  execvp(argv[1], argv + 1);
  say(NOT_STARTED, errno);
  return 127;
}
