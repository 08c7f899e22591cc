/* Signals that wait for this thread. */
#define _GNU_SOURCE
#include "shim.h"

#include <signal.h>
#include <time.h>

/* Signals that end nothing when the program says nothing about them. */
static bool is_ignored(int signal) {
  struct sigaction action;
  if (sigaction(signal, NULL, &action)) return false;
  if (action.sa_handler == SIG_IGN) return true;
  return action.sa_handler == SIG_DFL && (signal == SIGCHLD || signal == SIGURG ||
                                          signal == SIGWINCH || signal == SIGCONT);
}

bool signal_waits(const sigset_t *wanted) {
  sigset_t pending;
  struct timespec now = {0};
  bool found = false;
  sigpending(&pending);
  for (int s = 1; s < NSIG; s++) {
    if (sigismember(wanted, s) != 1 || sigismember(&pending, s) != 1) continue;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, s);
    if (is_ignored(s))
      sigtimedwait(&one, NULL, &now);
    else
      found = true;
  }
  return found;
}
