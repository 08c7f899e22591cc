# A program for the guest of `npm start`: a point at which the machine may be saved, and from where it goes on.
#
# It says in xenstore that the guest is at its prompt (data/prompt), and waits for the word to go on (data/go). The
# machine's host may let the guest suspend itself meanwhile, and save it. A guest that was restored needs no word: its
# kernel registers the watch again, which makes an event. Then the terminal gets the size that the host says
# (console/winsize), and the kernel's random number generator takes fresh numbers of the processor, which are not those of
# others that were restored from the same file. Meanwhile the kernel's messages stay out of the console.
#
# Build: guest/debian/build.sh. Linux's system calls by number: read 0, write 1, open 2, ioctl 16, exit 60, syslog 103.

        .intel_syntax noprefix
        .set CONSOLE_OFF, 6
        .set CONSOLE_ON, 7
        .set TIOCSWINSZ, 0x5414
        .set RNDRESEEDCRNG, 0x5207
        .set XS_READ, 2
        .set XS_WATCH, 4
        .set XS_WRITE, 11
        .set XS_WATCH_EVENT, 15
        .set HEADER, 16
        .set MOST, 4096

# A message: header (type, request, transaction, length) and body.
        .macro message name, type, body:vararg
\name:  .long \type, 0, 0, 2f - 1f
1:      .ascii \body
2:
\name\()_end:
        .endm

# Sends a message in one write. r12 is the connection.
        .macro send name
        mov     eax, 1
        mov     edi, r12d
        lea     rsi, [rip + \name]
        mov     edx, offset \name\()_end - \name
        syscall
        .endm

        .text
        .globl  _start
_start:
        lea     rdi, [rip + xenbus]
        call    open
        js      end
        mov     r12d, eax
        mov     edi, CONSOLE_OFF
        call    klog
        send    watch_go
        send    write_prompt
        # The first event says that there is a watch; the next one, that it is time.
        mov     r13d, 2
more:   call    receive
        js      over
        cmp     dword ptr [rip + buffer], XS_WATCH_EVENT
        jne     more
        dec     r13d
        jnz     more

        send    read_size
answer: call    receive
        js      over
        cmp     dword ptr [rip + buffer], XS_WATCH_EVENT
        je      answer
        cmp     dword ptr [rip + buffer], XS_READ
        jne     reseed
        # "ROWS COLUMNS", and a zero behind it.
        lea     rsi, [rip + buffer + HEADER]
        call    number
        mov     word ptr [rip + winsize], ax
        call    number
        mov     word ptr [rip + winsize + 2], ax
        test    eax, eax
        jz      reseed
        mov     eax, 16
        xor     edi, edi
        mov     esi, TIOCSWINSZ
        lea     rdx, [rip + winsize]
        syscall
reseed: lea     rdi, [rip + urandom]
        call    open
        js      over
        mov     edi, eax
        mov     eax, 16
        mov     esi, RNDRESEEDCRNG
        xor     edx, edx
        syscall
over:   mov     edi, CONSOLE_ON
        call    klog
end:    mov     eax, 60
        xor     edi, edi
        syscall

# Opens the file at rdi for reading and writing; negative for none.
open:   mov     eax, 2
        mov     esi, 2
        xor     edx, edx
        syscall
        test    eax, eax
        ret

klog:   mov     eax, 103
        xor     esi, esi
        xor     edx, edx
        syscall
        ret

# Reads a message into the buffer, with a zero behind it; negative when there is none.
receive:
        lea     rsi, [rip + buffer]
        mov     edx, HEADER
        call    fill
        js      1f
        mov     edx, dword ptr [rip + buffer + 12]
        cmp     edx, MOST
        ja      2f
        lea     rsi, [rip + buffer + HEADER]
        call    fill
        js      1f
        mov     byte ptr [rsi], 0
        xor     eax, eax
        test    eax, eax
1:      ret
2:      mov     eax, -1
        test    eax, eax
        ret

# Reads edx bytes to rsi, which moves behind them.
fill:   test    edx, edx
        jz      1f
        mov     edi, r12d
        xor     eax, eax
        syscall
        test    eax, eax
        js      2f
        jz      3f
        add     rsi, rax
        sub     edx, eax
        jmp     fill
1:      xor     eax, eax
        test    eax, eax
2:      ret
3:      mov     eax, -1
        test    eax, eax
        ret

# Reads a decimal number at rsi, which moves behind it and the character that ends it.
number: xor     eax, eax
1:      movzx   ecx, byte ptr [rsi]
        test    ecx, ecx
        jz      2f
        inc     rsi
        sub     ecx, '0'
        cmp     ecx, 9
        ja      2f
        imul    eax, eax, 10
        add     eax, ecx
        jmp     1b
2:      ret

xenbus: .asciz  "/dev/xen/xenbus"
urandom:
        .asciz  "/dev/urandom"
        message watch_go, XS_WATCH, "data/go\0go\0"
        message write_prompt, XS_WRITE, "data/prompt\0001"
        message read_size, XS_READ, "console/winsize\0"

        .bss
        .align  16
winsize:
        .skip   8
buffer: .skip   HEADER + MOST + 1
