/* Answers 9P2000.L requests without doing any of the work: no files, no checks, nothing is looked up.
 * What the load generator measures against it is the most that this machine's sockets allow.
 *
 *   responder PORT [SOCKET]     127.0.0.1:PORT (0: any), and a unix socket; prints the port
 *
 * One process for each connection. Reads and writes go to one area of memory that all share,
 * whatever the fid, so that what is read is not what was written. It ends with its parent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { TLERROR = 6, TSTATFS = 8, TLOPEN = 12, TLCREATE = 14, TMKNOD = 18, TGETATTR = 24, TREADDIR = 40, TMKDIR = 72,
       TVERSION = 100, TATTACH = 104, TWALK = 110, TREAD = 116, TWRITE = 118 };
enum { HEADER = 7, COUNTED = 11, WRITE_HEADER = 23, QID = 13, INPUT = 256 << 10, OUTPUT = 256 << 10, COPIED_MAX = 16 << 10,
       REPLY_MAX = 256 };

static const uint64_t SPAN = 256u << 20, MARGIN = 2u << 20;
static unsigned char *area;              /* SPAN bytes, and MARGIN for what begins at the end */
static unsigned char input[INPUT], output[OUTPUT];
static size_t held, pending;             /* bytes in input and in output */
static int client;

static uint32_t u32(const unsigned char *at) { uint32_t v; memcpy(&v, at, 4); return v; }
static uint64_t u64(const unsigned char *at) { uint64_t v; memcpy(&v, at, 8); return v; }
static void put32(unsigned char *at, uint32_t v) { memcpy(at, &v, 4); }

/* Sends the replies that wait, and `n` bytes of `data` behind them. */
static void send_all(unsigned char *data, size_t n) {
    struct iovec iov[2] = {{output, pending}, {data, n}}, *next = iov;
    int left = n ? 2 : 1;
    for (size_t rest = pending + n; rest;) {
        ssize_t sent = writev(client, next, left);
        if (sent <= 0) _exit(0);
        rest -= sent;
        for (; left && (size_t)sent >= next->iov_len; next++, left--) sent -= next->iov_len;
        if (left) { next->iov_base = (char *)next->iov_base + sent; next->iov_len -= sent; }
    }
    pending = 0;
}

/* Puts a reply of `size` bytes, of which zeros follow the header, behind those that wait. */
static unsigned char *reply(int type, const unsigned char *tag, uint32_t size, uint32_t filled) {
    unsigned char *at = output + pending;
    memset(at, 0, filled);
    put32(at, size);
    at[4] = type + 1;
    memcpy(at + 5, tag, 2);
    pending += filled;
    return at;
}
static void counted(int type, const unsigned char *tag, uint32_t count) {
    put32(reply(type, tag, COUNTED, COUNTED) + HEADER, count);
}

static void answer_read(const unsigned char *request) {
    uint64_t place = u64(request + 11) % SPAN;
    uint32_t count = u32(request + 19);
    if (count > MARGIN) count = MARGIN;
    put32(reply(TREAD, request + 5, COUNTED + count, COUNTED) + HEADER, count);
    if (count > COPIED_MAX) { send_all(area + place, count); return; }
    memcpy(output + pending, area + place, count);
    pending += count;
}

static void answer(const unsigned char *request, uint32_t size) {
    int type = request[4];
    const unsigned char *tag = request + 5;
    if (pending + COPIED_MAX + REPLY_MAX > OUTPUT) send_all(NULL, 0);
    switch (type) {
    case TVERSION: {
        unsigned char *at = reply(type, tag, 21, 21);
        memcpy(at + HEADER, request + HEADER, 4);
        memcpy(at + 11, "\10\0" "9P2000.L", 10);
        break;
    }
    case TWALK: {
        uint32_t names = request[15] | request[16] << 8;
        if (names > 16) _exit(1);
        reply(type, tag, 9 + QID * names, 9 + QID * names)[HEADER] = names;
        break;
    }
    case TREAD: answer_read(request); break;
    case TWRITE:
        memcpy(area + u64(request + 11) % SPAN, request + WRITE_HEADER, size - WRITE_HEADER);
        counted(type, tag, size - WRITE_HEADER);
        break;
    case TGETATTR: reply(type, tag, 160, 160); break;
    case TSTATFS: reply(type, tag, 67, 67); break;
    case TREADDIR: counted(type, tag, 0); break;
    case TLCREATE: case TLOPEN: reply(type, tag, 24, 24); break;
    case TATTACH: case TMKDIR: case TMKNOD: reply(type, tag, 20, 20); break;
    default: reply(type, tag, HEADER, HEADER);
    }
}

/* Receives the rest of a write, of which `have` bytes of data are here, straight to where it goes. */
static void answer_large_write(unsigned char *request, uint32_t size, size_t have) {
    unsigned char *to = area + u64(request + 11) % SPAN, tag[2] = {request[5], request[6]};
    uint32_t count = size - WRITE_HEADER;
    send_all(NULL, 0);
    memcpy(to, request + WRITE_HEADER, have);
    while (have < count) {
        ssize_t received = read(client, to + have, count - have);
        if (received <= 0) _exit(0);
        have += received;
    }
    counted(TWRITE, tag, count);
}

static void answer_all(void) {
    size_t at = 0;
    while (held - at >= HEADER) {
        unsigned char *request = input + at;
        uint32_t size = u32(request);
        if (size < HEADER || size > MARGIN) _exit(1);
        if (held - at < size) {
            if (request[4] != TWRITE || size <= INPUT / 4 || held - at < WRITE_HEADER) break;
            answer_large_write(request, size, held - at - WRITE_HEADER);
            at = held;
            break;
        }
        answer(request, size);
        at += size;
    }
    send_all(NULL, 0);
    memmove(input, input + at, held - at);
    held -= at;
}

static void serve(void) {
    int one = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (;;) {
        ssize_t received = read(client, input + held, INPUT - held);
        if (received <= 0) _exit(0);
        held += received;
        answer_all();
    }
}

static int fail(const char *what) { perror(what); exit(1); }

static int listen_tcp(int port) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&a, n) || listen(listener, 128)) fail("responder: TCP");
    getsockname(listener, (void *)&a, &n);
    printf("%d\n", ntohs(a.sin_port));
    return listener;
}
static int listen_unix(const char *path) {
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path) { fprintf(stderr, "responder: the path is too long\n"); exit(1); }
    strcpy(a.sun_path, path);
    if (bind(listener, (void *)&a, sizeof a) || listen(listener, 128)) fail(path);
    return listener;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) { fprintf(stderr, "responder PORT [SOCKET]\n"); return 2; }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    area = mmap(NULL, SPAN + MARGIN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) fail("responder: memory");
    memset(area, 1, SPAN + MARGIN);
    signal(SIGCHLD, SIG_IGN);
    struct pollfd listeners[2] = {{listen_tcp(atoi(argv[1])), POLLIN, 0}, {-1, POLLIN, 0}};
    if (argc == 3) listeners[1].fd = listen_unix(argv[2]);
    fflush(stdout);
    for (;;) {
        if (poll(listeners, 2, -1) <= 0) continue;
        for (int i = 0; i < 2; i++) {
            if (!(listeners[i].revents & POLLIN)) continue;
            client = accept(listeners[i].fd, NULL, NULL);
            if (client < 0) continue;
            if (!fork()) { prctl(PR_SET_PDEATHSIG, SIGKILL); serve(); }
            close(client);
        }
    }
}
