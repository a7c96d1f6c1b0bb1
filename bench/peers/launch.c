/* launch.c: starts a program N times, one after another, and prints the median of the wall times in
 * microseconds, from posix_spawn until it has been waited for. Small itself, unless -m has it hold memory.
 * Usage: launch [-m MEBIBYTES] N PROGRAM [ARGUMENTS] */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void hold(size_t mebibytes) {
  char *memory = malloc(mebibytes << 20);
  if (memory != NULL) memset(memory, 1, mebibytes << 20);
}

int main(int argc, char **argv) {
  if (argc > 3 && strcmp(argv[1], "-m") == 0) {
    hold(strtoul(argv[2], NULL, 10));
    argc -= 2;
    argv += 2;
  }
  int n = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0;
  if (n < 1) {
    fputs("usage: launch [-m MEBIBYTES] N PROGRAM [ARGUMENTS]\n", stderr);
    return 2;
  }
  double *times = calloc((size_t)n, sizeof *times);
  posix_spawn_file_actions_t actions;
  if (times == NULL || posix_spawn_file_actions_init(&actions) != 0) return 1;
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  for (int i = 0; i < n; i++) {
    pid_t pid;
    int status = 0;
    double started = now_us();
    if (posix_spawnp(&pid, argv[2], &actions, NULL, argv + 2, environ) != 0 || waitpid(pid, &status, 0) < 0)
      return 1;
    times[i] = now_us() - started;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      fprintf(stderr, "launch: %s failed\n", argv[2]);
      return 1;
    }
  }
  qsort(times, (size_t)n, sizeof *times, ascending);
  printf("%.1f\n", times[n / 2]);
  free(times);
  return 0;
}
