/*
 * Guest memory. The server cannot see private memory of this process, so a slot's memory is
 * exchanged for a memfd with the same content at the same addresses; memory that is shared already
 * is handed over as it is. What the program maps there later is exchanged again.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PAGE 4096ul
/* From here on a private mapping becomes guest memory with the first slot that uses a part of it. */
#define LARGE (1ul << 30)
#define TMPFS 0x01021994
#define HUGETLBFS 0x958458f6

/* Memory at [start, end) is `fd` from `offset` on. fd -1: it was guest memory and is nothing now. */
struct range {
  uintptr_t start, end;
  int fd;
  off_t offset;
  int prot;
  bool was_private;
};

struct ranges {
  struct range *item;
  size_t count, room;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ranges shared; /* guest memory, which the server knows */
static struct ranges files;  /* shared mappings of files in memory, which may become guest memory */
static struct ranges large;  /* private mappings so large that they are guest memory as a whole */
static _Atomic size_t large_count;
static _Atomic uintptr_t lowest = UINTPTR_MAX, highest;

static int keep(int fd) {
  return own_descriptor(fcntl(fd, F_DUPFD_CLOEXEC, 3), OWN_MEMORY);
}

static bool add(struct ranges *list, struct range range) {
  if (list->count == list->room) {
    size_t room = list->room ? list->room * 2 : 16;
    struct range *item = realloc(list->item, room * sizeof *item);
    if (!item) return false;
    list->item = item;
    list->room = room;
  }
  list->item[list->count++] = range;
  return true;
}

/* Takes [start, end) out of a list. */
static void cut(struct ranges *list, uintptr_t start, uintptr_t end) {
  for (size_t i = 0; i < list->count;) {
    struct range r = list->item[i];
    if (r.end <= start || r.start >= end) {
      i++;
      continue;
    }
    list->item[i] = list->item[--list->count];
    struct range left = r, right = r;
    left.end = start;
    right.start = end;
    right.offset += (off_t)(end - r.start);
    if (r.fd >= 0 && left.start < left.end) left.fd = keep(own_now(r.fd));
    if (r.fd >= 0 && right.start < right.end) right.fd = keep(own_now(r.fd));
    if (left.start < left.end) add(list, left);
    if (right.start < right.end) add(list, right);
    if (r.fd >= 0) own_close(r.fd);
  }
}

static struct range *find(struct ranges *list, uintptr_t address) {
  for (size_t i = 0; i < list->count; i++)
    if (list->item[i].start <= address && address < list->item[i].end) return &list->item[i];
  return NULL;
}

/* Where process_vm_readv is forbidden: write(2) of what cannot be read fails as well. */
static bool copy_through_pipe(void *to, uint64_t from, size_t size) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) return false;
  bool copied = syscall(SYS_write, ends[1], (void *)(uintptr_t)from, size) == (long)size &&
                syscall(SYS_read, ends[0], to, size) == (long)size;
  real_close(ends[0]);
  real_close(ends[1]);
  return copied;
}

bool copy_in(void *to, uint64_t from, size_t size) {
  struct iovec local = {.iov_base = to, .iov_len = size};
  struct iovec remote = {.iov_base = (void *)(uintptr_t)from, .iov_len = size};
  if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size) return true;
  return (errno == EPERM || errno == ENOSYS) && copy_through_pipe(to, from, size);
}

/* The folder /proc, kept by processes that use KVM; a number, as /proc/self is looked up by each. */
static _Atomic int proc = -1;

void proc_keep(void) {
  if (proc < 0 || !descriptor_is_own(own_now(proc)))
    proc = own_descriptor(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), OWN_MEMORY);
}

int proc_open(const char *path, int flags) {
  char whole[112] = "/proc/";
  strncat(whole, path, sizeof whole - 7);
  int fd = open(whole, flags | O_CLOEXEC);
  if (fd < 0 && proc >= 0) fd = openat(own_now(proc), path, flags | O_CLOEXEC);
  return fd;
}

static int tell_share(const struct range *r) {
  struct message request = {.type = MSG_SHARE,
                            .a = r->start,
                            .b = r->end - r->start,
                            .c = (uint64_t)r->offset,
                            .d = r->prot == PROT_NONE ? 3 : r->prot & PROT_WRITE ? 0 : 1};
  return (int)server_call(&request, own_now(r->fd), NULL, NULL, NULL, 0);
}

/* Whether a VM has this memory still. */
static bool tell_unshare(uintptr_t start, uintptr_t end) {
  struct message request = {.type = MSG_UNSHARE, .a = start, .b = end - start};
  return server_call(&request, -1, NULL, NULL, NULL, 0) > 0;
}

static void widen(uintptr_t start, uintptr_t end) {
  if (start < lowest) lowest = start;
  if (end > highest) highest = end;
}

static int record(struct range r) {
  int error = tell_share(&r);
  if (!error && !add(&shared, r)) error = -ENOMEM;
  if (error) {
    own_close(r.fd);
    return error;
  }
  widen(r.start, r.end);
  return 0;
}

/* Mappings that are looked at together. */
#define LISTED 64

/* One mapping of /proc/self/maps. */
struct mapping {
  uintptr_t start, end;
  int prot;
  bool is_shared;
  off_t offset;
  dev_t device;
  ino_t inode;
};

static bool parse(const char *line, struct mapping *m) {
  unsigned long start, end, inode;
  char perms[8];
  unsigned long long offset;
  unsigned major_, minor_;
  if (sscanf(line, "%lx-%lx %7s %llx %x:%x %lu", &start, &end, perms, &offset, &major_, &minor_,
             &inode) != 7)
    return false;
  m->start = start;
  m->end = end;
  m->prot = (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) |
            (perms[2] == 'x' ? PROT_EXEC : 0);
  m->is_shared = perms[3] == 's';
  m->offset = (off_t)offset;
  m->device = makedev(major_, minor_);
  m->inode = inode;
  return true;
}

/*
 * Writes the pages of [start, end) into a memfd. Of memory without a file those never touched stay
 * holes; of a file's private mapping every page has content.
 */
static bool copy_pages(int fd, uintptr_t start, uintptr_t end, bool of_file) {
  int pagemap = of_file ? -1 : proc_open("self/pagemap", O_RDONLY);
  bool ok = true;
  uint64_t entries[512];
  for (uintptr_t at = start; ok && at < end;) {
    size_t pages = (end - at) / PAGE < 512 ? (end - at) / PAGE : 512;
    ssize_t got = -1;
    if (pagemap >= 0)
      got = pread(pagemap, entries, pages * 8, (off_t)(at / PAGE * 8));
    /* Present, or swapped out; without pagemap everything counts as there. */
    bool known = got == (ssize_t)(pages * 8);
    for (size_t i = 0, next; ok && i < pages; i = next + 1) {
      for (next = i; next < pages && (!known || (entries[next] >> 62) != 0);) next++;
      uintptr_t from = at + i * PAGE;
      size_t length = (next - i) * PAGE;
      if (length) ok = pwrite(fd, (void *)from, length, (off_t)(from - start)) == (ssize_t)length;
    }
    at += pages * PAGE;
  }
  if (pagemap >= 0) real_close(pagemap);
  return ok;
}

/* Exchanges private memory for a memfd. */
static int share_private(uintptr_t start, uintptr_t end, int prot, bool of_file) {
  int low = memfd_create("kvm-xen-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (low < 0) return -errno;
  int fd = keep(low);
  real_close(low);
  if (fd < 0) return -EMFILE;
  size_t length = end - start;
  if (real_ftruncate(fd, (off_t)length) || !copy_pages(fd, start, end, of_file)) {
    own_close(fd);
    return -ENOMEM;
  }
  fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
  if (real_mmap((void *)start, length, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    int error = -errno;
    own_close(fd);
    return error;
  }
  struct range r = {start, end, fd, 0, prot, true};
  return record(r);
}

/* A descriptor for a mapping whose own may be closed long ago. */
static int descriptor_for(const struct mapping *m, uintptr_t at, off_t *offset) {
  struct range *known = find(&files, at);
  if (known) {
    *offset = known->offset + (off_t)(at - known->start);
    return keep(own_now(known->fd));
  }
  *offset = m->offset + (off_t)(at - m->start);
  char path[96];
  snprintf(path, sizeof path, "self/map_files/%lx-%lx", (unsigned long)m->start,
           (unsigned long)m->end);
  int fd = proc_open(path, O_RDWR);
  if (fd < 0) fd = proc_open(path, O_RDONLY);
  fd = own_descriptor(fd, OWN_MEMORY);
  for (int own = 3; fd < 0 && own < 4096; own++) {
    struct stat s;
    if (!fstat(own, &s) && s.st_ino == m->inode && s.st_dev == m->device) fd = keep(own);
  }
  return fd;
}

static int share_mapping(const struct mapping *m, uintptr_t start, uintptr_t end) {
  if (m->prot == PROT_NONE) return 0; /* as on Linux: an access fails when it is made */
  if (!m->is_shared) return share_private(start, end, m->prot, m->inode != 0);
  off_t offset;
  int fd = descriptor_for(m, start, &offset);
  if (fd < 0) return -EFAULT;
  struct range r = {start, end, fd, offset, m->prot, false};
  return record(r);
}

/* PROCMAP_QUERY of Linux 6.11, which the headers may not have (include/uapi/linux/fs.h). */
struct map_query {
  uint64_t size, query_flags, query_addr, start, end, flags, page_size, offset, inode;
  uint32_t device_major, device_minor, name_size, build_id_size;
  uint64_t name, build_id;
};
#define MAP_QUERY _IOWR('f', 17, struct map_query)
enum {
  VMA_READABLE = 1,
  VMA_WRITABLE = 2,
  VMA_EXECUTABLE = 4,
  VMA_SHARED = 8,
  VMA_COVERING_OR_NEXT = 16
};

/* The first mappings of [start, end), by asking for each; false where Linux cannot be asked. */
static bool ask_for_mappings(int maps, uintptr_t start, uintptr_t end, struct mapping *list,
                             size_t *count) {
  for (*count = 0; *count < LISTED && start < end; (*count)++) {
    struct map_query query = {
        .size = sizeof query, .query_flags = VMA_COVERING_OR_NEXT, .query_addr = start};
    if (real_ioctl(maps, MAP_QUERY, &query)) return errno == ENOENT;
    if (query.start >= end) return true;
    list[*count] = (struct mapping){
        .start = query.start,
        .end = query.end,
        .prot = (query.flags & VMA_READABLE ? PROT_READ : 0) |
                (query.flags & VMA_WRITABLE ? PROT_WRITE : 0) |
                (query.flags & VMA_EXECUTABLE ? PROT_EXEC : 0),
        .is_shared = query.flags & VMA_SHARED,
        .offset = (off_t)query.offset,
        .device = makedev(query.device_major, query.device_minor),
        .inode = query.inode,
    };
    start = query.end;
  }
  return true;
}

/* The same by reading the list of all mappings, which is long in a program with many slots. */
static bool read_mappings(int fd, uintptr_t start, uintptr_t end, struct mapping *list,
                          size_t *count) {
  FILE *maps = fdopen(fd, "r");
  if (!maps) return false;
  char line[4608];
  *count = 0;
  while (*count < LISTED && fgets(line, sizeof line, maps)) {
    struct mapping m;
    if (parse(line, &m) && m.end > start && m.start < end) list[(*count)++] = m;
  }
  fclose(maps);
  return true;
}

/* Shares what is mapped in [start, end), none of which is shared yet. */
static int share_gap(uintptr_t start, uintptr_t end) {
  /* All mappings first: sharing changes them. */
  struct mapping list[LISTED];
  size_t count = 0;
  int fd = proc_open("self/maps", O_RDONLY);
  if (fd < 0) return -EFAULT;
  if (ask_for_mappings(fd, start, end, list, &count))
    real_close(fd);
  else if (!read_mappings(fd, start, end, list, &count)) {
    real_close(fd);
    return -EFAULT;
  }
  int error = 0;
  for (size_t i = 0; !error && i < count; i++) {
    uintptr_t from = list[i].start > start ? list[i].start : start;
    uintptr_t to = list[i].end < end ? list[i].end : end;
    error = share_mapping(&list[i], from, to);
  }
  if (!error && count == LISTED && list[LISTED - 1].end < end)
    error = share_gap(list[LISTED - 1].end, end);
  return error;
}

/* What is not accessible in [at, end) becomes guest memory when the program makes it so. */
static void note_holes(uintptr_t at, uintptr_t end) {
  while (at < end) {
    struct range *known = find(&shared, at);
    uintptr_t stop = known ? known->end : end;
    for (size_t i = 0; !known && i < shared.count; i++)
      if (shared.item[i].start > at && shared.item[i].start < stop) stop = shared.item[i].start;
    struct range hole = {at, stop, -1, 0, 0, false};
    if (!known && add(&shared, hole)) widen(at, stop);
    at = stop;
  }
}

static int share_locked(uintptr_t address, size_t length) {
  uintptr_t end = address + length;
  int error = 0;
  for (uintptr_t at = address; !error && at < end;) {
    struct range *known = find(&shared, at);
    if (known && known->fd >= 0) {
      at = known->end;
      continue;
    }
    uintptr_t stop = end;
    for (size_t i = 0; i < shared.count; i++)
      if (shared.item[i].fd >= 0 && shared.item[i].start > at && shared.item[i].start < stop)
        stop = shared.item[i].start;
    cut(&shared, at, stop);
    error = share_gap(at, stop);
    if (!error) note_holes(at, stop);
    at = stop;
  }
  return error;
}

int memory_share(uintptr_t address, size_t length) {
  if (address + length < address || (address | length) % PAGE) return 0; /* the server refuses it */
  pthread_mutex_lock(&lock);
  struct range *whole = find(&large, address);
  if (whole && whole->end >= address + length) {
    address = whole->start;
    length = whole->end - whole->start;
  }
  int error = share_locked(address, length);
  pthread_mutex_unlock(&lock);
  return error;
}

bool memory_is_shared(uintptr_t address, size_t length) {
  if (address >= highest || address + length <= lowest) return false;
  bool found = false;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < shared.count && !found; i++)
    found = shared.item[i].start < address + length && address < shared.item[i].end;
  pthread_mutex_unlock(&lock);
  return found;
}

static void replace(uintptr_t address, size_t length, bool mapped, bool holes_only) {
  uintptr_t end = address + length;
  struct ranges gone = {0};
  for (size_t i = 0; i < shared.count; i++) {
    struct range r = shared.item[i];
    if (r.end <= address || r.start >= end || (holes_only && r.fd >= 0)) continue;
    if (r.start < address) r.start = address;
    if (r.end > end) r.end = end;
    add(&gone, r);
  }
  for (size_t i = 0; i < gone.count; i++) {
    struct range r = gone.item[i];
    cut(&shared, r.start, r.end);
    if (!tell_unshare(r.start, r.end)) continue;
    struct range hole = {r.start, r.end, -1, 0, 0, false};
    if (!mapped || share_locked(r.start, r.end - r.start)) add(&shared, hole);
  }
  free(gone.item);
}

void memory_replaced(uintptr_t address, size_t length, bool mapped) {
  pthread_mutex_lock(&lock);
  cut(&files, address, address + length);
  replace(address, length, mapped, false);
  pthread_mutex_unlock(&lock);
}

/* The rights to what is shared already; its file stays. */
static void protect(uintptr_t address, size_t length, int prot) {
  uintptr_t end = address + length;
  struct ranges changed = {0};
  for (size_t i = 0; i < shared.count; i++) {
    struct range r = shared.item[i];
    if (r.end <= address || r.start >= end || r.fd < 0 || r.prot == prot) continue;
    if (r.start < address) {
      r.offset += (off_t)(address - r.start);
      r.start = address;
    }
    if (r.end > end) r.end = end;
    r.prot = prot;
    r.fd = keep(own_now(r.fd));
    if (r.fd >= 0) add(&changed, r);
  }
  for (size_t i = 0; i < changed.count; i++) {
    cut(&shared, changed.item[i].start, changed.item[i].end);
    record(changed.item[i]);
  }
  free(changed.item);
}

void memory_protected(uintptr_t address, size_t length, int prot) {
  pthread_mutex_lock(&lock);
  protect(address, length, prot);
  if (prot != PROT_NONE) replace(address, length, true, true);
  pthread_mutex_unlock(&lock);
}

void memory_resized(void) {
  bool any = false;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < shared.count; i++) any |= shared.item[i].fd >= 0 && !shared.item[i].was_private;
  pthread_mutex_unlock(&lock);
  struct message request = {.type = MSG_RESIZED};
  if (any) server_call(&request, -1, NULL, NULL, NULL, 0);
}

void memory_zeroed(uintptr_t address, size_t length) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < shared.count; i++) {
    struct range *r = &shared.item[i];
    uintptr_t from = r->start > address ? r->start : address;
    uintptr_t to = r->end < address + length ? r->end : address + length;
    if (from >= to || !r->was_private || r->fd < 0) continue;
    fallocate(own_now(r->fd), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              r->offset + (off_t)(from - r->start), (off_t)(to - from));
  }
  pthread_mutex_unlock(&lock);
}

void memory_note_file(uintptr_t address, size_t length, int fd, off_t offset) {
  struct statfs fs;
  if (fstatfs(fd, &fs) || (fs.f_type != TMPFS && fs.f_type != HUGETLBFS)) return;
  length = (length + PAGE - 1) & ~(PAGE - 1);
  pthread_mutex_lock(&lock);
  cut(&files, address, address + length);
  struct range r = {address, address + length, keep(fd), offset, 0, false};
  if (r.fd >= 0 && !add(&files, r)) own_close(r.fd);
  pthread_mutex_unlock(&lock);
}

void memory_note_large(uintptr_t address, size_t length) {
  if (length < LARGE) return;
  pthread_mutex_lock(&lock);
  struct range r = {address, address + (length & ~(PAGE - 1)), -1, 0, 0, true};
  if (add(&large, r)) large_count = large.count;
  pthread_mutex_unlock(&lock);
}

void memory_unmapped(uintptr_t address, size_t length) {
  if (!large_count) return;
  pthread_mutex_lock(&lock);
  cut(&large, address, address + ((length + PAGE - 1) & ~(PAGE - 1)));
  large_count = large.count;
  pthread_mutex_unlock(&lock);
}

void memory_after_fork(void) {
  pthread_mutex_init(&lock, NULL);
  for (size_t i = 0; i < shared.count; i++) {
    struct range *r = &shared.item[i];
    if (r->fd < 0 || !r->was_private) continue;
    real_mmap((void *)r->start, r->end - r->start, r->prot, MAP_PRIVATE | MAP_FIXED,
              own_now(r->fd), r->offset);
  }
  /* Guest memory belongs to the parent: its VMs answer EIO here. */
  for (size_t i = 0; i < shared.count; i++)
    if (shared.item[i].fd >= 0) own_close(shared.item[i].fd);
  shared.count = 0;
  lowest = UINTPTR_MAX;
  highest = 0;
}
