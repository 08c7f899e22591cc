/*
 * What tells a descriptor of KVM in any program and process: the socket that it is has a name with
 * the handle in it. And what it says about itself to those who ask for a file's status.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

/* Kept from the start on: a program may clear its environment. */
static char socket_name[sizeof((struct sockaddr_un *)0)->sun_path];
static unsigned long socket_owner;

const char *server_name(void) { return socket_name; }
unsigned long server_pid(void) { return socket_owner; }

uint32_t program_number(void) {
  static _Atomic uint32_t number;
  while (!number) {
    uint32_t random = 1, none = 0;
    syscall(SYS_getrandom, &random, sizeof random, 0);
    atomic_compare_exchange_strong(&number, &none, random);
  }
  return number;
}

/* What stands before the handle; 0 when this program has no server. */
static size_t prefix_of(char *text, size_t room) {
  int length = *socket_name ? snprintf(text, room, "%s/", socket_name) : 0;
  return length > 0 && (size_t)length + 9 < room ? (size_t)length : 0;
}

void descriptor_name(int fd, uint32_t handle) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  /* An abstract name, which begins with a zero: it is gone with the socket. */
  char *text = address.sun_path + 1;
  size_t length = prefix_of(text, sizeof address.sun_path - 1);
  if (!length) return;
  length += (size_t)sprintf(text + length, "%08x", handle);
  bind(fd, (struct sockaddr *)&address,
       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length));
}

uint32_t descriptor_recognise(int fd) {
  struct sockaddr_un address;
  socklen_t size = sizeof address;
  char text[sizeof address.sun_path];
  int saved = errno;
  bool is_socket = !getsockname(fd, (struct sockaddr *)&address, &size);
  errno = saved;
  if (!is_socket || address.sun_family != AF_UNIX) return 0;
  size_t length = prefix_of(text, sizeof text);
  if (!length || size != offsetof(struct sockaddr_un, sun_path) + 1 + length + 8) return 0;
  if (address.sun_path[0] || memcmp(address.sun_path + 1, text, length)) return 0;
  memcpy(text, address.sun_path + 1 + length, 8);
  text[8] = 0;
  uint32_t handle = (uint32_t)strtoul(text, NULL, 16);
  descriptor_set(fd, handle);
  return handle_of(fd);
}

/* The parent of a process, 0 when that cannot be known. */
static unsigned long parent_of(unsigned long pid) {
  char path[32], text[512];
  snprintf(path, sizeof path, "/proc/%lu/stat", pid);
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t size = read(fd, text, sizeof text - 1);
  real_close(fd);
  text[size > 0 ? size : 0] = 0;
  /* The name before may contain anything. */
  const char *end = strrchr(text, ')');
  unsigned long parent;
  return end && sscanf(end, ") %*c %lu", &parent) == 1 ? parent : 0;
}

#define SOCKET_PREFIX "kvm-xen-exec-"
/* Ancestors that are looked at. */
enum { MAX_ANCESTORS = 4096 };

/* The server of the process `owner`, by the names of the sockets that exist: true when it has one. */
static bool server_of(FILE *sockets, unsigned long owner) {
  char line[512], prefix[64];
  int length = snprintf(prefix, sizeof prefix, "@" SOCKET_PREFIX "%lu-", owner);
  rewind(sockets);
  while (fgets(line, sizeof line, sockets)) {
    char *name = strstr(line, prefix);
    if (!name || name == line || name[-1] != ' ') continue;
    name++;
    /* Descriptors have names too, which begin with the server's and go on with "/". */
    size_t size = strcspn(name, "/\n");
    if (name[size] == '/' || size < (size_t)length || size >= sizeof socket_name) continue;
    memcpy(socket_name, name, size);
    socket_name[size] = 0;
    socket_owner = owner;
    return true;
  }
  return false;
}

/*
 * Without its environment (libvirt gives QEMU a new one) a program still has its ancestors: exec adopts
 * what it started, so that one of them is the process of the server.
 */
static void find_server(void) {
  FILE *sockets = fopen("/proc/net/unix", "re");
  if (!sockets) return;
  unsigned long pid = (unsigned long)getppid();
  for (int i = 0; pid > 1 && i < MAX_ANCESTORS && !server_of(sockets, pid); i++) pid = parent_of(pid);
  fclose(sockets);
}

/* The server, and the descriptors that this program was started with. */
__attribute__((constructor)) static void start(void) {
  const char *name = getenv("KVM_XEN_EXEC_SOCKET"), *pid = getenv("KVM_XEN_EXEC_SERVER");
  if (name && strlen(name) < sizeof socket_name) {
    strcpy(socket_name, name);
    if (pid) socket_owner = strtoul(pid, NULL, 10);
  } else {
    find_server();
  }
  if (!*socket_name) return;
  DIR *folder = opendir("/proc/self/fd");
  if (!folder) return;
  for (struct dirent *entry; (entry = readdir(folder));) {
    int fd = atoi(entry->d_name);
    if (fd > 2 && fd != dirfd(folder)) descriptor_recognise(fd);
  }
  closedir(folder);
}

uint32_t descriptor_in_path(const char *path) {
  static const char *const folders[] = {"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"};
  for (size_t i = 0; path && i < sizeof folders / sizeof *folders; i++) {
    size_t length = strlen(folders[i]);
    if (!strncmp(path, folders[i], length) && path[length]) return handle_of(atoi(path + length));
  }
  return 0;
}

/* Not beside their callers: libc declares paths there that are never NULL, which programs ignore. */
bool is_kvm(const char *path) { return path && !strcmp(path, "/dev/kvm"); }

uint32_t handle_without_path(int folder, const char *path, int flags) {
  return (flags & AT_EMPTY_PATH) && (!path || !*path) ? handle_of(folder) : 0;
}

void status_of_device(struct stat *status) {
  memset(status, 0, sizeof *status);
  status->st_mode = S_IFCHR | 0666;
  status->st_rdev = makedev(10, 232);
  status->st_ino = 232;
  status->st_nlink = 1;
  status->st_blksize = 4096;
}

void status_of_handle(uint32_t handle, struct stat *status) {
  status_of_device(status);
  if (is_device(handle)) return;
  /* All files without a path are one inode: an eventfd is another of them. */
  int other = eventfd(0, EFD_CLOEXEC);
  if (other >= 0) {
    syscall(SYS_fstat, other, status);
    real_close(other);
  }
  status->st_mode = 0600;
  status->st_rdev = 0;
}
