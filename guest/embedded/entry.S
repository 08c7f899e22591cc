# The image's ELF header, its Xen note, and the way from the PVH entry (32-bit protected mode, paging
# off, EBX = start_info) to 64-bit mode with the first 4 GiB mapped one to one.
#
# The header is written by hand, and the linker writes a flat file, so the image's bytes depend on
# nothing but this source.
.include "xen.inc"

.section .header, "a"
elf_header:
  .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
  .quad 0
  .word 2, 62                   # ET_EXEC, EM_X86_64
  .long 1
  .quad pvh_entry
  .quad program_headers - elf_header
  .quad 0
  .long 0
  .word 64, 56, 2, 64, 0, 0
program_headers:
  .long 1, 7                    # PT_LOAD, RWX
  .quad 0, image_start, image_start, image_file_bytes, image_memory_bytes, 4096
  .long 4, 4                    # PT_NOTE, R
  .quad note - elf_header, note, note, note_end - note, note_end - note, 4
note:
  .long 4, 4, 18                # XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .long pvh_entry
note_end:

.section .text, "ax"
.code32
.globl pvh_entry
pvh_entry:
  cld
  mov $stack_top, %esp
  mov %ebx, start_info

  # PML4[0] -> PDPT; PDPT[0..3] -> four page directories of 512 2-MiB pages.
  movl $pdpt + 3, pml4
  xor %ecx, %ecx
1:
  mov %ecx, %eax
  shl $12, %eax
  add $page_directories + 3, %eax
  mov %eax, pdpt(, %ecx, 8)
  inc %ecx
  cmp $4, %ecx
  jb 1b
  xor %ecx, %ecx
1:
  mov %ecx, %eax
  shl $21, %eax
  or $0x83, %eax                # present, writable, 2 MiB
  mov %eax, page_directories(, %ecx, 8)
  inc %ecx
  cmp $2048, %ecx
  jb 1b

  mov $0x20, %eax               # CR4.PAE
  mov %eax, %cr4
  mov $pml4, %eax
  mov %eax, %cr3
  mov $MSR_EFER, %ecx
  rdmsr
  or $0x100, %eax               # EFER.LME
  wrmsr
  mov %cr0, %eax
  or $0x80000001, %eax          # CR0.PG, CR0.PE
  mov %eax, %cr0
  lgdt gdt_pointer
  ljmp $8, $long_mode

.code64
long_mode:
  mov $16, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  mov $stack_top, %rsp
  call install_idt
  jmp tour

.section .data, "aw"
.balign 8, 0
gdt:
  .quad 0
  .quad 0x00af9b000000ffff      # 64-bit code
  .quad 0x00cf93000000ffff      # data
gdt_pointer:
  .word gdt_pointer - gdt - 1
  .long gdt

.section .bss, "aw", @nobits
.balign 4096
pml4: .skip 4096
pdpt: .skip 4096
page_directories: .skip 4 * 4096
.globl hypercall_page, shared_info, pml4
hypercall_page: .skip 4096
shared_info: .skip 4096
stack: .skip 8192
stack_top:
.globl start_info
start_info: .skip 8
