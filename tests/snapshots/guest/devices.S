# A disk and a network card in the hand of the guest of exact snapshots: a ring of requests to xvda, and one for each
# direction of packets of vif0. Where the machine has neither, nothing is done. In a round: a write of the buffer, a
# read, a read by an indirect request, now and then a flush, and one that writes; a packet to the echo of 10.0.2.2, and now
# and then the first packet of a TCP connection, which is never followed by another.
.include "../../../guest/embedded/xen.inc"

.equ HYPERVISOR_grant_table_op, 20
.equ XENMAPSPACE_grant_table, 1
.equ EVTCHNOP_alloc_unbound, 6
.equ XS_READ, 2
.equ XS_WRITE, 11
.equ XS_ERROR, 16
.equ STORE_rsp_cons, 2056
.equ STORE_rsp_prod, 2060
.equ STORE_rsp, 1024
# A shared ring: the counts of both sides, and the first slot.
.equ RING_req_prod, 0
.equ RING_req_event, 4
.equ RING_rsp_prod, 8
.equ RING_rsp_event, 12
.equ RING_SLOTS, 64
.equ BLKIF_SLOT, 112
.equ BLKIF_SLOTS_MASK, 31
.equ BLKIF_OP_READ, 0
.equ BLKIF_OP_WRITE, 1
.equ BLKIF_OP_FLUSH, 3
.equ BLKIF_OP_INDIRECT, 6
.equ NET_SLOTS_MASK, 255
.equ TX_SLOT, 12
.equ RX_SLOT, 8
.equ RX_PAGES, 8
.equ NETTXF_csum_blank, 1
# Grants: the rings, the buffer's pages, those that are read into, and those of packets.
.equ REF_BLK, 8
.equ REF_TX, 9
.equ REF_RX, 10
.equ REF_LIST, 11
.equ REF_PACKET, 12
.equ REF_BUFFER, 16
.equ REF_READ, 20
.equ REF_RX_PAGE, 32

.macro grant ref, page
  movl $(1), grant_table + \ref * 8(%rip)
  mov $\page, %eax
  shr $12, %eax
  mov %eax, grant_table + \ref * 8 + 4(%rip)
.endm

# A message to xenstore that writes a node.
.macro store_node path, value:vararg
  .long XS_WRITE, 0, 0, 7772f - 7771f
  7771:
  .asciz "\path"
  .ascii \value
  7772:
.endm

.macro store_send first, last
  lea \first(%rip), %rsi
  mov $\last - \first, %ecx
  call store_call
.endm

.section .text, "ax"
.code64

.globl devices_set_up, devices_begin, devices_end

devices_set_up:
  store_send ask, ask_end
  cmp $XS_ERROR, %al
  je 9f
  mov $grant_table, %eax
  shr $12, %eax
  mov %eax, grant_frame(%rip)
  mov $XENMEM_add_to_physmap, %edi
  lea grant_physmap(%rip), %rsi
  hypercall HYPERVISOR_memory_op
  test %rax, %rax
  expect z, "FAIL      XENMEM_add_to_physmap, grant table"
  grant REF_BLK, blk_ring
  grant REF_TX, tx_ring
  grant REF_RX, rx_ring
  grant REF_LIST, segment_list
  grant REF_PACKET, packet_page
  .set i, 0
  .rept 4
    grant (REF_BUFFER + i), (buffer + 4096 * i)
    .set i, i + 1
  .endr
  .set i, 0
  .rept 12
    grant (REF_READ + i), (read_pages + 4096 * i)
    .set i, i + 1
  .endr
  .set i, 0
  .rept RX_PAGES
    grant (REF_RX_PAGE + i), (rx_pages + 4096 * i)
    .set i, i + 1
  .endr
  lea blk_ring(%rip), %rbx
  call ring_begin
  lea tx_ring(%rip), %rbx
  call ring_begin
  lea rx_ring(%rip), %rbx
  call ring_begin
  # Pages for packets.
  xor %ecx, %ecx
1:
  call post_page
  inc %ecx
  cmp $RX_PAGES, %ecx
  jb 1b
  lea blk_digits(%rip), %rbx
  call new_port
  mov %eax, blk_port(%rip)
  lea net_digits(%rip), %rbx
  call new_port
  mov %eax, net_port(%rip)
  # Segments of the indirect request: eight whole pages.
  lea segment_list(%rip), %rbx
  xor %ecx, %ecx
1:
  lea REF_READ + 4(%rcx), %eax
  mov %eax, (%rbx, %rcx, 8)
  movl $0x0700, 4(%rbx, %rcx, 8)
  inc %ecx
  cmp $8, %ecx
  jb 1b
  store_send blk_ref, blk_port_node
  store_send blk_port_node, blk_protocol
  store_send blk_protocol, blk_state
  store_send blk_state, tx_ref
  store_send tx_ref, rx_ref
  store_send rx_ref, net_port_node
  store_send net_port_node, rx_copy
  store_send rx_copy, rx_notify
  store_send rx_notify, net_state
  store_send net_state, nodes_end
  lea packet(%rip), %rsi
  lea packet_page(%rip), %rdi
  mov $packet_end - packet, %ecx
  rep movsb
  incl has_devices(%rip)
9:
  ret

# An empty ring at RBX, whose other side tells of each response.
ring_begin:
  movl $1, RING_req_event(%rbx)
  movl $1, RING_rsp_event(%rbx)
  ret

# Posts page ECX of those for packets on the ring to receive.
post_page:
  lea rx_ring(%rip), %rbx
  mov RING_req_prod(%rbx), %eax
  mov %eax, %edx
  and $NET_SLOTS_MASK, %edx
  mov %cx, RING_SLOTS(%rbx, %rdx, RX_SLOT)
  lea REF_RX_PAGE(%rcx), %esi
  mov %esi, RING_SLOTS + 4(%rbx, %rdx, RX_SLOT)
  inc %eax
  mov %eax, RING_req_prod(%rbx)
  ret

# A port for domain 0, in EAX; two digits of it at RBX.
new_port:
  mov $EVTCHNOP_alloc_unbound, %edi
  lea unbound(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  test %rax, %rax
  expect z, "FAIL      EVTCHNOP_alloc_unbound"
  mov unbound_port(%rip), %eax
  mov $10, %cl
  div %cl
  add $0x3030, %ax
  mov %ax, (%rbx)
  mov unbound_port(%rip), %eax
  ret

# ECX bytes of a message from RSI, whose own length is put in; the kind of the answer in AL.
store_call:
  call send_bytes
  mov store_page(%rip), %rbx
1:
  mov STORE_rsp_prod(%rbx), %edx
  mov STORE_rsp_cons(%rbx), %eax
  cmp %eax, %edx
  jne 2f
  pause
  jmp 1b
2:
  and $1023, %eax
  movzbl STORE_rsp(%rbx, %rax), %r12d
  mov %edx, STORE_rsp_cons(%rbx)
  call kick_store
  mov %r12d, %eax
  ret

notify:
  mov %eax, send_port(%rip)
  mov $EVTCHNOP_send, %edi
  lea send_port(%rip), %rsi
  hypercall HYPERVISOR_event_channel_op
  ret

# The next slot of the disk's ring, all zero, in RBX; it has an id, and operation AL with AH segments.
blk_slot:
  mov blk_next(%rip), %ecx
  incl blk_next(%rip)
  mov %ecx, %ebx
  and $BLKIF_SLOTS_MASK, %ebx
  imul $BLKIF_SLOT, %ebx, %ebx
  lea blk_ring + RING_SLOTS(%rip), %rdx
  add %rdx, %rbx
  push %rcx
  push %rax
  mov %rbx, %rdi
  xor %eax, %eax
  mov $BLKIF_SLOT / 8, %ecx
  rep stosq
  pop %rax
  pop %rcx
  mov %ax, (%rbx)
  mov %rcx, 8(%rbx)
  ret

# ECX whole pages of the request at RBX, from grant EDX on.
blk_pages:
  lea 24(%rbx), %rdi
1:
  mov %edx, (%rdi)
  movl $0x0700, 4(%rdi)
  inc %edx
  add $8, %rdi
  dec %ecx
  jnz 1b
  ret

devices_begin:
  cmpl $0, has_devices(%rip)
  je 9f
  # The buffer to one of eight places.
  mov $(4 << 8) | BLKIF_OP_WRITE, %eax
  call blk_slot
  mov %r15d, %eax
  and $7, %eax
  shl $5, %eax
  mov %rax, 16(%rbx)
  mov $4, %ecx
  mov $REF_BUFFER, %edx
  call blk_pages
  # What was written three rounds ago, or was there before.
  mov $(4 << 8) | BLKIF_OP_READ, %eax
  call blk_slot
  lea 5(%r15), %eax
  and $7, %eax
  shl $5, %eax
  mov %rax, 16(%rbx)
  mov $4, %ecx
  mov $REF_READ, %edx
  call blk_pages
  # Every fourth round a flush, and two rounds later one that writes a page.
  test $1, %r15d
  jnz 2f
  mov $BLKIF_OP_FLUSH, %eax
  mov %r15d, %ecx
  and $2, %ecx
  shl $7, %ecx
  or %ecx, %eax
  test %ecx, %ecx
  jz 1f
  and $0xff, %eax
  or $1 << 8, %eax
1:
  call blk_slot
  cmpb $0, 1(%rbx)
  je 2f
  movq $300, 16(%rbx)
  mov $1, %ecx
  mov $REF_BUFFER + 1, %edx
  call blk_pages
2:
  # Eight pages by an indirect request.
  mov $(BLKIF_OP_READ << 8) | BLKIF_OP_INDIRECT, %eax
  call blk_slot
  movw $8, 2(%rbx)
  movq $128, 16(%rbx)
  movl $REF_LIST, 28(%rbx)
  mov blk_next(%rip), %eax
  mov %eax, blk_ring + RING_req_prod(%rip)
  mov blk_port(%rip), %eax
  call notify
  # A packet of UDP, with the digest in it.
  lea packet_page(%rip), %rbx
  mov %r14, 14 + 20 + 8(%rbx)
  mov $packet_tcp - packet, %eax
  xor %edx, %edx
  call put_packet
  test $3, %r15d
  jnz 3f
  # The first of a connection, from a port of its own.
  lea packet_page(%rip), %rbx
  add $packet_tcp - packet, %rbx
  mov %r15b, 14 + 20 + 1(%rbx)
  mov $packet_end - packet_tcp, %eax
  mov $packet_tcp - packet, %edx
  call put_packet
3:
  mov net_port(%rip), %eax
  call notify
9:
  ret

# Sends EAX bytes from EDX of the page of packets.
put_packet:
  lea tx_ring(%rip), %rbx
  mov RING_req_prod(%rbx), %ecx
  mov %ecx, %edi
  and $NET_SLOTS_MASK, %edi
  imul $TX_SLOT, %edi, %edi
  lea RING_SLOTS(%rbx, %rdi), %rdi
  movl $REF_PACKET, (%rdi)
  mov %dx, 4(%rdi)
  movw $NETTXF_csum_blank, 6(%rdi)
  mov %cx, 8(%rdi)
  mov %ax, 10(%rdi)
  inc %ecx
  mov %ecx, RING_req_prod(%rbx)
  ret

# Waits for the disk, and looks at all that came.
devices_end:
  cmpl $0, has_devices(%rip)
  je 9f
1:
  mov blk_ring + RING_rsp_prod(%rip), %eax
  cmp blk_next(%rip), %eax
  je 2f
  pause
  jmp 1b
2:
  lea 1(%rax), %edx
  mov %edx, blk_ring + RING_rsp_event(%rip)
3:
  mov blk_done(%rip), %ecx
  cmp blk_next(%rip), %ecx
  je 4f
  incl blk_done(%rip)
  and $BLKIF_SLOTS_MASK, %ecx
  imul $BLKIF_SLOT, %ecx, %ecx
  lea blk_ring + RING_SLOTS(%rip), %rbx
  cmpw $0, 10(%rbx, %rcx)
  expect e, "FAIL      a request to the disk"
  mov (%rbx, %rcx), %rax
  call mix
  jmp 3b
4:
  # One word of each page that was read.
  lea read_pages(%rip), %rbx
  mov $12, %ecx
5:
  mov 1024(%rbx), %rax
  call mix
  add $4096, %rbx
  dec %ecx
  jnz 5b
  # Packets: what came until now.
6:
  mov rx_done(%rip), %ecx
  cmp rx_ring + RING_rsp_prod(%rip), %ecx
  je 7f
  incl rx_done(%rip)
  and $NET_SLOTS_MASK, %ecx
  lea rx_ring + RING_SLOTS(%rip), %rbx
  mov (%rbx, %rcx, RX_SLOT), %rax
  movzwl %ax, %r12d
  call mix
  mov %r12d, %ecx
  shl $12, %r12d
  lea rx_pages(%rip), %rbx
  mov 42(%rbx, %r12), %rax
  call mix
  incl packets(%rip)
  call post_page
  jmp 6b
7:
  mov rx_done(%rip), %ecx
  inc %ecx
  mov %ecx, rx_ring + RING_rsp_event(%rip)
  mov net_port(%rip), %eax
  call notify
9:
  ret

.section .data, "aw"
.balign 8, 0
.globl packets
packets: .long 0
has_devices: .long 0
blk_port: .long 0
net_port: .long 0
send_port: .long 0
# Requests that were made, and that were looked at.
blk_next: .long 0
blk_done: .long 0
rx_done: .long 0
unbound: .word DOMID_SELF, 0
unbound_port: .long 0
.balign 8, 0
grant_physmap:
  .word DOMID_SELF, 0
  .long XENMAPSPACE_grant_table
  .quad 0
grant_frame: .quad 0
ask: .long XS_READ, 0, 0, ask_end - ask - 16
  .asciz "device/vbd/51712/backend-id"
ask_end:
blk_ref: store_node device/vbd/51712/ring-ref, "8"
blk_port_node: store_node device/vbd/51712/event-channel, "00"
.equ blk_digits, . - 2
blk_protocol: store_node device/vbd/51712/protocol, "x86_64-abi"
blk_state: store_node device/vbd/51712/state, "4"
tx_ref: store_node device/vif/0/tx-ring-ref, "9"
rx_ref: store_node device/vif/0/rx-ring-ref, "10"
net_port_node: store_node device/vif/0/event-channel, "00"
.equ net_digits, . - 2
rx_copy: store_node device/vif/0/request-rx-copy, "1"
rx_notify: store_node device/vif/0/feature-rx-notify, "1"
net_state: store_node device/vif/0/state, "4"
nodes_end:
# From 10.0.2.15 to the echo of 10.0.2.2, with 32 bytes.
packet:
  .byte 0x52, 0x55, 10, 0, 2, 2, 0, 0x16, 0x3e, 0, 0, 1, 8, 0
  .byte 0x45, 0, 0, 60, 0, 0, 0x40, 0, 0x40, 17, 0x22, 0xa1, 10, 0, 2, 15, 10, 0, 2, 2
  .byte 3, 0xe8, 0, 7, 0, 40, 0, 0
  .fill 32
packet_tcp:
  .byte 0x52, 0x55, 10, 0, 2, 2, 0, 0x16, 0x3e, 0, 0, 1, 8, 0
  .byte 0x45, 0, 0, 40, 0, 0, 0x40, 0, 0x40, 6, 0x22, 0xc0, 10, 0, 2, 15, 10, 0, 2, 2
  .byte 4, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0, 0, 0, 0, 0
packet_end:

.section .bss, "aw", @nobits
.balign 4096
grant_table: .skip 4096
blk_ring: .skip 4096
tx_ring: .skip 4096
rx_ring: .skip 4096
segment_list: .skip 4096
packet_page: .skip 4096
read_pages: .skip 12 * 4096
rx_pages: .skip RX_PAGES * 4096
