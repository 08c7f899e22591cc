/* Connections: one for each thread, one more when a signal handler calls in the middle of a call. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/ioctl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct connection {
  int fd;
  pid_t pid; /* who opened it: a child after fork has to open its own */
  bool busy;
  struct mailbox *mailbox;       /* NULL: the socket only */
  int mailbox_file;              /* where it is, from mailbox_at on */
  off_t mailbox_at;
  const _Atomic uint32_t *awake; /* the server looks into mailboxes by itself */
  /* What this thread waited for a processor, when the server wants to know: see program_delay(). */
  int delay_file; /* its schedstat, -1 when the server did not ask */
  uint64_t delay_at_call, delay_in_calls;
  unsigned in_vain; /* how often in a row this thread has looked for an answer that was not there */
  int signals; /* a signalfd, -1 when there is none yet */
  sigset_t wanted; /* what it is for */
};

static __thread struct connection mine = {
    .fd = -1, .mailbox_file = -1, .delay_file = -1, .signals = -1};
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define MAILBOX_PAGES 8192
_Static_assert(sizeof(struct mailbox) <= MAILBOX_PAGES, "its pages");
#define PAGE_OF(pointer) ((void *)((uintptr_t)(pointer) & ~4095ul))

static void hang_up(void) {
  if (mine.fd >= 0) own_close(mine.fd);
  if (mine.mailbox) {
    real_munmap(PAGE_OF(mine.mailbox), MAILBOX_PAGES);
    real_munmap(PAGE_OF(mine.awake), 4096);
  }
  if (mine.mailbox_file >= 0) own_close(mine.mailbox_file);
  if (mine.delay_file >= 0) own_close(mine.delay_file);
  if (mine.signals >= 0) own_close(mine.signals);
  mine.fd = mine.mailbox_file = mine.signals = -1;
  mine.mailbox = NULL;
  mine.delay_file = -1;
}

/* Nanoseconds that this thread has waited for a processor: the second number of its schedstat. */
static uint64_t thread_delay(void) {
  char text[96];
  ssize_t length = syscall(SYS_pread64, own_now(mine.delay_file), text, sizeof text - 1, 0);
  if (length <= 0) return mine.delay_at_call;
  text[length] = 0;
  char *second = strchr(text, ' ');
  return second ? strtoull(second, NULL, 10) : mine.delay_at_call;
}

/*
 * What the program waited in its own time, plus 1; 0 when the server did not ask. On Linux a call
 * runs in the thread itself: the waits for the server's answers are none of the program's.
 */
static uint64_t program_delay(void) {
  if (mine.delay_file < 0) return 0;
  mine.delay_at_call = thread_delay();
  return mine.delay_at_call - mine.delay_in_calls + 1;
}

/* After the answer to a call, which may ask for these numbers from now on. */
static void call_ends(bool wanted) {
  if (mine.delay_file >= 0) {
    mine.delay_in_calls += thread_delay() - mine.delay_at_call;
  } else if (wanted) {
    int fd = proc_open("thread-self/schedstat", O_RDONLY);
    mine.delay_file = own_descriptor(fd, OWN_CONNECTION);
    mine.delay_in_calls = 0;
  }
}

static void end_of_thread(void *unused) {
  (void)unused;
  hang_up();
}

/* Looks for a message before a thread sleeps, at most: some 50 us; 0 with one processor. */
static int looks;
/*
 * How many of `most` looks this thread takes before it sleeps: none when they were in vain a few times
 * in a row, as the server may wait for this very processor; all of them again now and then.
 */
static int patience(int most) { return mine.in_vain < 4 || mine.in_vain % 32 == 0 ? most : 0; }

static void looked(bool in_vain) { mine.in_vain = in_vain ? mine.in_vain + 1 : 0; }

/* Processors that this thread may run on. */
static int processors(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

static void make_key(void) {
  pthread_key_create(&thread_end, end_of_thread);
  looks = processors() > 1 ? 150 : 0;
}

/* What travels with a request and its answer; `at` is where the program gave the address of. */
struct argument {
  void *at;
  size_t sent, told;
};

static struct argument argument_of(const struct message *request) {
  struct argument argument = {.at = (void *)(uintptr_t)request->b};
  unsigned size = _IOC_SIZE(request->a);
  if (request->type != MSG_IOCTL || size > ARGUMENT_MAX) return argument;
  if (_IOC_DIR(request->a) & _IOC_WRITE) argument.sent = size;
  if (_IOC_DIR(request->a) & _IOC_READ) argument.told = size;
  return argument;
}

/*
 * sendmsg(2), recvmsg(2) and connect(2) of a connection. One that moved just before the call failed there
 * at a file of the program: it is called again where it is now.
 */
#define WHERE_IT_IS(fd, result, call)                       \
  do {                                                      \
    int at_;                                                \
    do {                                                    \
      at_ = own_now(fd);                                    \
      result = call;                                        \
    } while (result < 0 && at_ != own_now(fd));             \
  } while (0)

static ssize_t own_send(int fd, const struct msghdr *header) {
  ssize_t sent;
  WHERE_IT_IS(fd, sent, sendmsg(at_, header, MSG_NOSIGNAL));
  return sent;
}

static ssize_t own_receive(int fd, struct msghdr *header, int flags) {
  ssize_t got;
  WHERE_IT_IS(fd, got, recvmsg(at_, header, MSG_CMSG_CLOEXEC | flags));
  return got;
}

static int own_connect(int fd, const struct sockaddr_un *address, socklen_t size) {
  int result;
  WHERE_IT_IS(fd, result, connect(at_, (const struct sockaddr *)address, size));
  return result;
}

static int send_giving(int fd, const struct message *message, const struct argument *argument,
                       const int *descriptors, int count) {
  struct message bare;
  struct iovec parts[2] = {{.iov_base = (void *)message, .iov_len = sizeof *message}};
  union {
    char bytes[CMSG_SPACE(2 * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr header = {.msg_iov = parts, .msg_iovlen = 1};
  size_t length = sizeof *message;
  if (argument && argument->sent) {
    parts[1] = (struct iovec){.iov_base = argument->at, .iov_len = argument->sent};
    header.msg_iovlen = 2;
    length += argument->sent;
  }
  if (count > 0) {
    size_t size = (size_t)count * sizeof(int);
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(rights), descriptors, size);
  }
  ssize_t sent;
  do {
    sent = own_send(fd, &header);
    if (sent < 0 && errno == EFAULT && header.msg_iovlen > 1) {
      /* The server finds out by itself, after whatever the kernel would refuse first. */
      header.msg_iovlen = 1;
      length = sizeof *message;
      errno = EINTR;
    } else if (sent < 0 && errno == EBADF && header.msg_controllen > 0) {
      /* Another thread closed a descriptor that goes along: it is not open, as for the kernel. */
      bare = *message;
      bare.d = 0;
      parts[0].iov_base = &bare;
      header.msg_control = NULL;
      header.msg_controllen = 0;
      errno = EINTR;
    }
  } while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)length ? 0 : -ENODEV;
}

static int send_message(int fd, const struct message *message) {
  return send_giving(fd, message, NULL, NULL, 0);
}

/*
 * The next message, which is looked for that often before this thread sleeps, unless `at_once`: then
 * -EAGAIN when none is there. -ENODEV when the server is gone. Bytes that follow it and do not fit in
 * the program's memory make the answer EFAULT: what was asked for has happened all the same.
 */
static int receive_message(int fd, struct message *message, int *received, void *bytes, size_t size,
                           bool at_once) {
  struct iovec parts[2] = {{.iov_base = message, .iov_len = sizeof *message},
                           {.iov_base = bytes, .iov_len = size}};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr header = {.msg_iov = parts,
                          .msg_iovlen = size ? 2 : 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
  ssize_t got = -1;
  errno = EAGAIN;
  message->type = 0;
  /* Most answers come within a few us; waking an idle processor takes longer than that. */
  int i = 0;
  for (int more = patience(looks); i <= more && got < 0; i++) {
    got = own_receive(fd, &header, MSG_DONTWAIT);
    if (got < 0 && errno != EAGAIN && errno != EINTR) break;
  }
  /* What is there at once says nothing about how often to look. */
  if (got < 0 || i > 1) looked(got < 0);
  if (at_once && got < 0 && (errno == EAGAIN || errno == EINTR)) return -EAGAIN;
  while (got < 0 && (errno == EAGAIN || errno == EINTR))
    got = own_receive(fd, &header, 0);
  if (got < 0 && errno == EFAULT) {
    /* Addresses that are never a program's are refused before the message is taken. */
    if (!message->type) {
      header.msg_iovlen = 1;
      header.msg_flags = 0;
      do got = own_receive(fd, &header, 0);
      while (got < 0 && errno == EINTR);
    }
    if (got < 0 || header.msg_flags & MSG_TRUNC) message->a = (uint64_t)-EFAULT;
    if (message->type) return 0;
  }
  if (got < (ssize_t)sizeof *message) return -ENODEV;
  int descriptor = -1;
  struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
    memcpy(&descriptor, CMSG_DATA(rights), sizeof descriptor);
  if (received)
    *received = descriptor;
  else if (descriptor >= 0)
    real_close(descriptor);
  return 0;
}

static int receive_answer(int fd, struct message *answer, int *received, void *bytes, size_t size) {
  int error = receive_message(fd, answer, received, bytes, size, false);
  return error || answer->type == MSG_ANSWER ? error : -ENODEV;
}

static void *map_pages(int fd, uint64_t offset, size_t size) {
  void *page = real_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                         (off_t)(offset & ~4095ull));
  return page == MAP_FAILED ? NULL : (char *)page + (offset & 4095);
}

/* Opens one; *own gets its mailbox, when there are mailboxes and it wants one. */
static int open_connection(struct connection *own) {
  const char *name = server_name();
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(name);
  if (length == 0 || length + 1 > sizeof address.sun_path) return -ENOENT;
  int fd = own_descriptor(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), OWN_CONNECTION);
  if (fd < 0) return -errno;
  memcpy(address.sun_path + 1, name, length); /* an abstract name: nothing to remove later */
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
  struct message hello = {.type = MSG_HELLO,
                          .a = PROTOCOL_VERSION,
                          .b = (uint64_t)getpid(),
                          .c = (uint64_t)syscall(SYS_gettid),
                          .d = own != NULL,
                          .handle = program_number()};
  /* Where Yama restricts it: the server reads and writes what arguments point to. */
  if (server_pid()) prctl(PR_SET_PTRACER, server_pid(), 0, 0, 0);
  struct message answer;
  int error = 0;
  if (own_connect(fd, &address, size)) error = -ENOENT;
  if (!error) error = send_message(fd, &hello);
  int pages = -1;
  if (!error) error = receive_answer(fd, &answer, &pages, NULL, 0);
  if (!error && (int64_t)answer.a < 0) error = (int)(int64_t)answer.a;
  if (error) {
    own_close(fd);
    return error;
  }
  if (pages >= 0 && own) {
    own->awake = map_pages(pages, answer.c, 4096);
    own->mailbox = own->awake ? map_pages(pages, answer.b, MAILBOX_PAGES) : NULL;
    own->mailbox_file = own_descriptor(pages, OWN_CONNECTION);
    if (own->mailbox) stack_find((char *)own->mailbox->argument, ARGUMENT_MAX);
    own->mailbox_at = (off_t)answer.b;
  } else if (pages >= 0) {
    real_close(pages);
  }
  return fd;
}

/* The connection to use; *temporary when it is only for this call. */
static int acquire(bool *temporary) {
  pthread_once(&once, make_key);
  *temporary = mine.busy;
  if (mine.busy) return open_connection(NULL);
  if (mine.fd >= 0 && mine.pid != getpid()) hang_up(); /* the parent's */
  if (mine.fd < 0) {
    proc_keep();
    int fd = open_connection(&mine);
    if (fd < 0) return fd;
    mine.fd = fd;
    mine.pid = getpid();
    pthread_setspecific(thread_end, &mine);
  }
  mine.busy = true;
  return mine.fd;
}

static void release(int fd, bool temporary, int error) {
  if (temporary) {
    own_close(fd);
    return;
  }
  if (error == -ENODEV) hang_up();
  mine.busy = false;
}

/* Turns of looking at the answer before going to sleep: about 50 us. */
#define SPINS 2000

#define ARGUMENT_AT (mine.mailbox_at + (off_t)offsetof(struct mailbox, argument))

/*
 * Other memory than the stack goes through the mailbox's file: an address that the program cannot read or
 * write is an error then and nothing worse.
 */
static bool copy_to_mailbox(const struct argument *argument) {
  size_t size = argument->sent;
  if (!on_stack(argument->at, size))
    return syscall(SYS_pwrite64, own_now(mine.mailbox_file), argument->at, size, ARGUMENT_AT) == (long)size;
  memcpy(mine.mailbox->argument, argument->at, size);
  return true;
}

static bool copy_from_mailbox(const struct argument *argument, size_t told) {
  if (told > argument->told) return false;
  if (!on_stack(argument->at, told))
    return syscall(SYS_pread64, own_now(mine.mailbox_file), argument->at, told, ARGUMENT_AT) == (long)told;
  memcpy(argument->at, mine.mailbox->argument, told);
  return true;
}

/* Puts a request into the mailbox. MAILBOX_ANSWER, or what to do instead of taking the result. */
static int mailbox_call(int fd, const struct message *request, int64_t *result) {
  struct mailbox *box = mine.mailbox;
  struct argument argument = argument_of(request);
  box->request = *request;
  box->request.c = program_delay();
  box->sent = argument.sent && copy_to_mailbox(&argument) ? (uint32_t)argument.sent : 0;
  box->waiting = 0;
  box->state = MAILBOX_REQUEST;
  if (!*mine.awake) {
    struct message bell = {.type = MSG_BELL};
    if (send_message(fd, &bell)) return -ENODEV;
  }
  int spins = looks ? patience(SPINS) : 0, i = 0;
  for (; i < spins && box->state == MAILBOX_REQUEST; i++) __builtin_ia32_pause();
  if (i > 0 || box->state == MAILBOX_REQUEST) looked(i == spins);
  while (box->state == MAILBOX_REQUEST) {
    struct timespec second = {.tv_sec = 1};
    char byte;
    box->waiting = 1;
    syscall(SYS_futex, &box->state, FUTEX_WAIT, MAILBOX_REQUEST, &second, NULL, 0);
    /* A server that is gone does not answer. */
    if (recv(own_now(fd), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return -ENODEV;
  }
  int state = (int)box->state;
  *result = box->result;
  size_t told = box->told;
  if (state == MAILBOX_ANSWER && told && !copy_from_mailbox(&argument, told)) *result = -EFAULT;
  box->state = MAILBOX_IDLE;
  return state;
}

static int64_t call(const struct message *request, const int *descriptors, int count,
                    struct message *answer, int *received, void *bytes, size_t size) {
  sigset_t all, before;
  bool temporary;
  int cancel;
  /* ioctl() is no cancellation point, as the functions below are. */
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  /* A handler that called in the middle of this would find half a conversation. */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int saved = errno;
  int fd = acquire(&temporary);
  int error = fd < 0 ? fd : 0;
  struct message own;
  if (!answer) answer = &own;
  struct argument argument = argument_of(request);
  bool boxed = !error && !temporary && mine.mailbox && request->type == MSG_IOCTL && !count;
  if (boxed) {
    int64_t result = 0;
    int state = mailbox_call(fd, request, &result);
    if (state == MAILBOX_ANSWER) {
      call_ends(mine.mailbox->wants_delay);
      release(fd, temporary, 0);
      errno = saved;
      pthread_sigmask(SIG_SETMASK, &before, NULL);
      pthread_setcancelstate(cancel, NULL);
      return result;
    }
    if (state < 0) error = state;
  } else if (!error) {
    struct message sent = *request;
    uint64_t delay = temporary ? 0 : program_delay();
    if (request->type == MSG_IOCTL) sent.c = delay;
    error = send_giving(fd, &sent, &argument, descriptors, count);
  }
  if (argument.told) {
    bytes = argument.at;
    size = argument.told;
  }
  if (!error) error = receive_answer(fd, answer, received, bytes, size);
  if (!error && !temporary) call_ends(answer->d == 1);
  if (fd >= 0) release(fd, temporary, error);
  errno = saved;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_setcancelstate(cancel, NULL);
  return error ? error : (int64_t)answer->a;
}

int64_t server_call(const struct message *request, int descriptor, struct message *answer,
                    int *received, void *bytes, size_t size) {
  return call(request, &descriptor, descriptor >= 0, answer, received, bytes, size);
}

int64_t server_call_giving(const struct message *request, const int *descriptors, int count,
                           struct message *answer) {
  return call(request, descriptors, count, answer, NULL, NULL, 0);
}

/* What libc leaves of a set beyond the kernel's signals may be anything. */
static bool same_signals(const sigset_t *a, const sigset_t *b) {
  for (int s = 1; s < NSIG; s++)
    if (sigismember(a, s) != sigismember(b, s)) return false;
  return true;
}

/* This thread's descriptor that is readable when a signal is pending that `mask` lets through. */
static int wake_descriptor(const sigset_t *mask, sigset_t *wanted) {
  sigfillset(wanted);
  for (int s = 1; s < NSIG; s++)
    if (sigismember(mask, s) == 1) sigdelset(wanted, s);
  if (mine.signals < 0)
    mine.signals = own_descriptor(signalfd(-1, wanted, SFD_CLOEXEC | SFD_NONBLOCK), OWN_CONNECTION);
  else if (!same_signals(&mine.wanted, wanted))
    signalfd(own_now(mine.signals), wanted, 0);
  mine.wanted = *wanted;
  return mine.signals;
}

/* Milliseconds that the server has for the answer to an INTERRUPT before handlers run meanwhile. */
#define INTERRUPT_MS 3000

/* A KVM_RUN that its thread may be cancelled in. */
struct cancelled_run {
  int fd;
  bool temporary;
  const sigset_t *outside;
};

/*
 * In the kernel a thread leaves KVM_RUN before it is cancelled, and its vCPU stands still from then on: so
 * also here, for a server that answers.
 */
static void run_cancelled(void *argument) {
  struct cancelled_run *run = argument;
  struct message interrupt = {.type = MSG_INTERRUPT}, answer;
  int error = send_message(run->fd, &interrupt);
  struct pollfd event = {.events = POLLIN};
  int ready = 0;
  do event.fd = own_now(run->fd);
  while (!error && (ready = poll(&event, 1, INTERRUPT_MS)) < 0 && errno == EINTR);
  if (ready > 0) error = receive_answer(run->fd, &answer, NULL, NULL, 0);
  /* What comes later is no answer to the next call of this thread. */
  release(run->fd, run->temporary, ready > 0 ? error : -ENODEV);
  pthread_sigmask(SIG_SETMASK, run->outside, NULL);
}

/* poll(2), in which this thread may be cancelled. */
static int poll_cancellable(struct pollfd *events, nfds_t count, int timeout,
                            struct cancelled_run *run) {
  int ready;
  pthread_cleanup_push(run_cancelled, run);
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  ready = poll(events, count, timeout);
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  pthread_cleanup_pop(0);
  return ready;
}

/*
 * All signals are blocked while this waits: as in the kernel, handlers run when the call is over
 * (they may make calls of their own, or never return), and what is ignored ends nothing.
 */
int64_t server_call_interruptible(const struct message *request, const sigset_t *outside,
                                  const sigset_t *kvm_mask) {
  bool temporary;
  int cancel, type;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
  pthread_setcanceltype(type, NULL);
  /* A thread that may be cancelled anywhere may be cancelled in KVM_RUN: nothing else wakes it. */
  bool anywhere = type == PTHREAD_CANCEL_ASYNCHRONOUS && cancel == PTHREAD_CANCEL_ENABLE;
  int fd = acquire(&temporary);
  int error = fd < 0 ? fd : 0;
  sigset_t wanted;
  int signals = error ? -1 : wake_descriptor(kvm_mask ? kvm_mask : outside, &wanted);
  struct message answer = {0};
  struct message sent = *request;
  bool interrupted = false, done = false;
  struct cancelled_run cancellable = {.fd = fd, .temporary = temporary, .outside = outside};
  /* Others are blocked in the program too, or have been handled. */
  if (!error && kvm_mask) sent.d = signal_waits(&wanted);
  if (!error && !temporary && mine.mailbox) {
    int64_t result = 0;
    int state = mailbox_call(fd, &sent, &result);
    done = state == MAILBOX_ANSWER;
    answer.a = (uint64_t)result;
    answer.d = done && mine.mailbox->wants_delay;
    if (state < 0) error = state;
  } else if (!error) {
    if (!temporary) sent.c = program_delay();
    error = send_message(fd, &sent);
    /* Most exits come soon. */
    if (!error) error = receive_message(fd, &answer, NULL, NULL, 0, true);
    done = !error;
    if (error == -EAGAIN) error = 0;
  }
  while (!error && !done) {
    struct pollfd events[2] = {{.fd = own_now(fd), .events = POLLIN},
                               {.fd = own_now(signals), .events = POLLIN}};
    nfds_t count = interrupted || signals < 0 ? 1 : 2;
    int timeout = interrupted ? INTERRUPT_MS : -1;
    int ready = anywhere ? poll_cancellable(events, count, timeout, &cancellable)
                         : poll(events, count, timeout);
    /* poll() looks numbers up again when it is woken: these may be the program's files by now. */
    if (ready > 0 && (events[0].fd != own_now(fd) || events[1].fd != own_now(signals))) continue;
    /* A signal of libc's own, which cannot be blocked, or one that the program waits for. */
    bool stop = ready < 0 && errno == EINTR;
    if (ready > 0 && !events[0].revents) stop = kvm_mask || signal_waits(&wanted);
    if (stop) {
      struct message interrupt = {.type = MSG_INTERRUPT};
      interrupted = true;
      error = send_message(fd, &interrupt);
      continue;
    }
    /* A filter of system calls forbids it: signals end nothing then. */
    if (ready < 0 && errno != EINTR) {
      error = receive_answer(fd, &answer, NULL, NULL, 0);
      break;
    }
    if (ready == 0) ppoll(events, 1, NULL, outside); /* the server does not answer: let it be ended */
    if (ready <= 0 || !events[0].revents) continue;
    error = receive_answer(fd, &answer, NULL, NULL, 0);
    break;
  }
  if (!error && !temporary) call_ends(answer.d == 1);
  if (fd >= 0) release(fd, temporary, error);
  pthread_setcancelstate(cancel, NULL);
  return error ? error : (int64_t)answer.a;
}

void connection_after_fork(void) {
  mine.fd = mine.mailbox_file = mine.delay_file = mine.signals = -1;
  mine.busy = false;
  hang_up();
}
