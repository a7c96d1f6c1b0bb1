/* epoll.c: the floor for HTTP: one epoll loop that answers whatever one read brought with one fixed response.
 * No parsing, no timeouts, no limits: what is left is the kernel's part. Usage: epoll PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256 };

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                             "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: keep-alive\r\n"
                             "Keep-Alive: timeout=5\r\nContent-Length: 12\r\n\r\nhello world\n";

static int listen_on(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 511) < 0) return -1;
  return fd;
}

static void accept_all(int poll, int listener) {
  int fd, on = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
  }
}

/* A response of this size always fits into an empty send buffer. */
static void answer_one(int fd) {
  char request[65536];
  ssize_t got = read(fd, request, sizeof request);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0 || write(fd, answer, sizeof answer - 1) < 0) close(fd);
}

int main(int argc, char **argv) {
  int listener = listen_on(argc > 1 ? (int)strtol(argv[1], NULL, 10) : 8000);
  int poll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
  if (listener < 0 || poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) < 0) {
    perror("epoll");
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  for (;;) {
    int n = epoll_wait(poll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd == listener) accept_all(poll, listener);
      else answer_one(events[i].data.fd);
    }
  }
}
