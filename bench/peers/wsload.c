/* wsload.c: the load for WebSocket servers, the same for all: one epoll loop that holds connections and counts what comes.
 * Usage: wsload MODE PORT CONNECTIONS IN_FLIGHT BYTES MILLISECONDS [deflate|plain [PID]]
 *   echo   messages that come back, each is sent again
 *   room   one speaks, all hear it, then it speaks again
 *   hold   each echoes once, then all are held until stdin ends
 * It prints `messages SECONDS CPU`: the processor time of the process PID, a last argument, in µs between the first message and
 * the last, so that connecting is no part of it. `hold` prints a line when all stand. Paths: /echo; /room for listeners, /say for
 * the one who speaks.
 * Frames are made once and never looked into: a frame that came is a length to skip. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { EVENTS = 256, BUFFER = 256 * 1024, HEAD = 14 };

struct connection {
  int fd;
  uint64_t skip;            /* bytes of the frame that is coming */
  unsigned char head[HEAD]; /* what has come of its head */
  int have;
  size_t owed; /* bytes that are still to be written */
};

static char *frame;       /* IN_FLIGHT times the same message */
static size_t frame_size; /* of one */
static char buffer[BUFFER];
static uint64_t messages; /* that came */
static int deflated;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* User and system time of a process with all its threads, in µs; 0 for none. */
static double cpu_of(const char *pid) {
  char path[64], text[1024];
  unsigned long user = 0, system = 0;
  snprintf(path, sizeof path, "/proc/%s/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  const char *rest = strrchr(text, ')');
  if (!rest || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    return 0;
  return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

/* Words in an order of their own, so that there is something to compress, but not everything. */
static void fill(char *text, size_t size) {
  static const char *const words[] = {"alpha ", "beta ", "gamma ", "delta ", "epsilon ",
                                      "zeta ",  "eta ",  "theta ", "iota ",  "kappa "};
  uint32_t state = 1;
  for (size_t at = 0; at < size;) {
    state = state * 1664525u + 1013904223u;
    const char *word = words[(state >> 16) % 10];
    for (; *word && at < size; word++) text[at++] = *word;
  }
}

static size_t squeeze(char *out, size_t room, char *in, size_t size) {
  z_stream z = {0};
  if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) fail("deflateInit2");
  z.next_in = (unsigned char *)in;
  z.avail_in = (unsigned)size;
  z.next_out = (unsigned char *)out;
  z.avail_out = (unsigned)room;
  deflate(&z, Z_SYNC_FLUSH);
  size_t made = room - z.avail_out - 4;
  deflateEnd(&z);
  return made;
}

/* The masked frame of a text message, `times` times. */
static void make_frame(size_t bytes, int times) {
  char *text = malloc(bytes + 1), *packed = malloc(bytes + 1024);
  size_t size = bytes, at = 2;
  fill(text, bytes);
  if (deflated) {
    size = squeeze(packed, bytes + 1024, text, bytes);
    memcpy(text = realloc(text, size + 1), packed, size);
  }
  frame_size = size + (size < 126 ? 6 : size < 65536 ? 8 : 14);
  frame = malloc(frame_size * (size_t)times);
  frame[0] = (char)(0x81 | (deflated ? 0x40 : 0));
  if (size < 126) frame[1] = (char)(0x80 | size);
  else {
    int length = size < 65536 ? 2 : 8;
    frame[1] = (char)(0x80 | (length == 2 ? 126 : 127));
    for (int i = length - 1; i >= 0; i--) frame[at++] = (char)(size >> (8 * i));
  }
  memcpy(frame + at, "\x12\x34\x56\x78", 4);
  for (size_t i = 0; i < size; i++) frame[at + 4 + i] = (char)(text[i] ^ "\x12\x34\x56\x78"[i & 3]);
  for (int i = 1; i < times; i++) memcpy(frame + (size_t)i * frame_size, frame, frame_size);
  free(text);
  free(packed);
}

static void handshake(struct connection *c, int port, const char *path) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  char text[512];
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  int size = snprintf(text, sizeof text,
                      "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                      path,
                      deflated ? "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; "
                                 "server_no_context_takeover\r\n"
                               : "");
  if (write(c->fd, text, (size_t)size) != size) fail("write");
  int have = 0;
  while (have < 4 || memcmp(text + have - 4, "\r\n\r\n", 4) != 0) {
    if (have == sizeof text || read(c->fd, text + have, 1) != 1) fail("the handshake's answer");
    have++;
  }
  if (strncmp(text, "HTTP/1.1 101", 12) != 0) {
    fprintf(stderr, "%.*s", have, text);
    exit(1);
  }
  if (deflated && !memmem(text, (size_t)have, "permessage-deflate", 18)) fail("no deflate in the answer");
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

/* Writes what is owed: as many bytes as the kernel takes. */
static void pay(struct connection *c, size_t times) {
  size_t size = frame_size * times;
  while (c->owed > 0) {
    size_t from = (size - c->owed % size) % size, most = size - from < c->owed ? size - from : c->owed;
    ssize_t put = write(c->fd, frame + from % size, most);
    if (put < 0 && errno == EAGAIN) return;
    if (put <= 0) fail("write");
    c->owed -= (size_t)put;
  }
}

/* How long the head is of which `have` bytes are there. */
static int head_size(const unsigned char *head, int have) {
  if (have < 2) return 2;
  int length = head[1] & 127;
  return length == 127 ? 10 : length == 126 ? 4 : 2;
}

static uint64_t payload_size(const unsigned char *head, int size) {
  uint64_t length = 0;
  if (size == 2) return head[1] & 127;
  for (int i = 2; i < size; i++) length = length << 8 | head[i];
  return length;
}

/* Counts the messages that end in these bytes. Pings are answered by nobody: no run is as long as that. */
static size_t count(struct connection *c, const char *bytes, size_t size) {
  size_t ended = 0;
  while (size > 0) {
    if (c->skip > 0) {
      size_t part = c->skip < size ? (size_t)c->skip : size;
      c->skip -= part;
      bytes += part;
      size -= part;
      if (c->skip > 0) return ended;
    } else {
      c->head[c->have++] = (unsigned char)*bytes++;
      size--;
      if (c->have < head_size(c->head, c->have)) continue;
      c->skip = payload_size(c->head, c->have);
    }
    if (c->skip == 0) {
      int opcode = c->head[0] & 15;
      if (opcode == 8) fail("the server closed a connection");
      if (opcode <= 2 && c->head[0] >= 128) ended++;
      c->have = 0;
    }
  }
  return ended;
}

/* Reads all there is, and returns how many messages that were. */
static size_t take(struct connection *c) {
  size_t ended = 0;
  ssize_t got;
  while ((got = read(c->fd, buffer, sizeof buffer)) > 0) ended += count(c, buffer, (size_t)got);
  if (got == 0 || errno != EAGAIN) fail("read");
  messages += ended;
  return ended;
}

int main(int argc, char **argv) {
  if (argc < 7) return 2;
  const char *mode = argv[1];
  int port = atoi(argv[2]), connections = atoi(argv[3]), in_flight = atoi(argv[4]);
  double seconds = atoi(argv[6]) / 1000.0;
  int room = strcmp(mode, "room") == 0, hold = strcmp(mode, "hold") == 0;
  deflated = argc > 7 && strcmp(argv[7], "deflate") == 0;
  make_frame((size_t)atoi(argv[5]), in_flight);
  struct connection *all = calloc((size_t)connections + 1, sizeof *all), *speaker = &all[connections];
  struct epoll_event events[EVENTS];
  int poll = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < connections; i++) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &all[i]};
    handshake(&all[i], port, room ? "/room" : "/echo");
    epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
  }
  if (room) {
    handshake(speaker, port, "/say");
    speaker->owed = frame_size;
    pay(speaker, 1);
  }
  for (int i = 0; !room && i < connections; i++) {
    all[i].owed = frame_size * (size_t)in_flight;
    pay(&all[i], (size_t)in_flight);
  }
  const char *pid = argc > 8 ? argv[8] : "0";
  double start = now(), cpu = cpu_of(pid);
  uint64_t next = (uint64_t)connections;
  while (hold ? messages < (uint64_t)connections * (uint64_t)in_flight : now() - start < seconds) {
    int n = epoll_wait(poll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      size_t ended = take(c);
      if (!room && !hold) c->owed += ended * frame_size;
      pay(c, (size_t)in_flight);
    }
    if (room && messages >= next) {
      next += (uint64_t)connections;
      speaker->owed = frame_size;
      pay(speaker, 1);
    }
  }
  if (hold) {
    puts("ready");
    fflush(stdout);
    while (read(0, buffer, sizeof buffer) > 0) {}
    return 0;
  }
  printf("%llu %.6f %.0f\n", (unsigned long long)messages, now() - start, cpu_of(pid) - cpu);
  return 0;
}
