/*
 * What the preload library and the server say to each other. One connection (AF_UNIX,
 * SOCK_SEQPACKET) for each thread of the client; one message at a time, each answered, except
 * INTERRUPT. Descriptors travel as SCM_RIGHTS, two with an IOCTL and one with others at most.
 * ../protocol.ts has the same numbers.
 *
 * The number of an ioctl says how long its argument is and who reads it. Up to ARGUMENT_MAX, what the
 * kernel would read follows an IOCTL, unless the client cannot read it, and the ANSWER brings from the
 * argument's beginning on what the kernel would write. What is left out, and what an argument points to
 * further, the server reads and writes in the client's memory.
 */
#ifndef KVM_XEN_EXEC_PROTOCOL_H
#define KVM_XEN_EXEC_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 1

/* In handles of /dev/kvm itself. */
#define HANDLE_DEVICE 0x40000000u

/* All fields in the client's byte order; what a field means depends on the type. */
struct message {
  uint32_t type;
  uint32_t handle;   /* which open file of the server; HELLO: which program this process runs */
  uint64_t a, b, c, d;
};

enum {
  /* client to server */
  MSG_HELLO = 1,     /* a version, b pid, c tid, d 1: a mailbox is wanted */
  MSG_OPEN,          /* open(/dev/kvm); descriptor: the other end of what the client got */
  MSG_IOCTL,         /* a request, b argument, c what the thread waited for a processor (ns, plus 1);
                        d the client's numbers (plus 1) of the descriptors that follow, 32 bits each:
                        one for what the ioctl makes, as for OPEN; or those that its argument names;
                        d 1 without a descriptor: a signal ends this KVM_RUN at once */
  MSG_MMAP,          /* a length, b offset */
  MSG_SHARE,         /* a address, b length, c offset in the descriptor, d bit 0: may not be written,
                        bit 1: may not be accessed at all */
  MSG_UNSHARE,       /* a address, b length: this is no longer the memory that was shared */
  MSG_READ,          /* a length (at most READ_MAX), b offset: of a file that can be read */
  MSG_INTERRUPT,     /* a signal came during the ioctl that this connection waits for */
  MSG_BELL = 10,     /* a request lies in the mailbox, and the server may be asleep */
  MSG_RESIZED,       /* a file that is shared memory may have another size now */
  MSG_LINES,         /* of a VM: the page that has its lines, LINE_VMS of struct vm_lines */

  MSG_PLACE,         /* where a file is at: position, or -ESPIPE; b: 1 when it is not open for writing */

  /* server to client */
  MSG_ANSWER = 100,  /* a result or -errno, b detail (offset for MMAP and LINES, the handle of what an
                        IOCTL made); d 1: tell c of IOCTL from now on; bytes follow for READ and
                        IOCTL */
};

/*
 * Bytes of an ioctl's argument that travel with request or answer at most.
 * @nolimit listed in protocol-limits.ts
 */
#define ARGUMENT_MAX 4096

/*
 * With mailboxes on, the ANSWER to HELLO brings a descriptor, and the offsets in it of this
 * connection's mailbox (b) and of the word that says whether the server is awake (c). An IOCTL that
 * brings no descriptor may be put into the mailbox instead of the socket.
 */
struct mailbox {
  _Atomic uint32_t state;   /* MAILBOX_* */
  _Atomic uint32_t waiting; /* the client sleeps on `state` */
  struct message request;
  int64_t result;
  uint32_t sent;            /* bytes of the argument that came with the request */
  uint32_t told;            /* bytes for it that came with the result */
  uint32_t wants_delay;     /* as d of ANSWER */
  uint32_t reserved;
  uint8_t argument[ARGUMENT_MAX];
};

enum {
  MAILBOX_IDLE,
  MAILBOX_REQUEST,
  MAILBOX_ANSWER,
  MAILBOX_SOCKET, /* go on at the socket: the server answers there */
};

/* Interrupt lines of a VM that are low, in memory that both sides see. */
struct vm_lines {
  _Atomic uint32_t handle;      /* the VM's; 0: of none */
  uint32_t reserved;
  _Atomic uint32_t skipped[2];  /* calls of KVM_IRQ_LINE and KVM_IRQ_LINE_STATUS that the client answered */
  /* By GSI: what KVM_IRQ_LINE_STATUS says when it is lowered once more, plus 2; 0: the server knows. */
  _Atomic uint8_t answers[240];
};
#define LINE_VMS 16
_Static_assert(LINE_VMS * sizeof(struct vm_lines) == 4096, "a page");

/*
 * Bytes that follow the ANSWER to a READ at most.
 * @nolimit listed in protocol-limits.ts
 */
#define READ_MAX 16384

#endif
