/* A component for measurements: a static HTTP server that tells its own instants.
 *
 *   component PORT READY_MS SOCKET INDEX
 *
 * Sends "INDEX started PID NANOSECONDS" (CLOCK_MONOTONIC) as a datagram to the Unix socket SOCKET
 * as its first act, listens on 127.0.0.1:PORT after READY_MS milliseconds, sends "INDEX ready …",
 * and answers every request with 200. No poller can blur what it reports.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int teller = -1;
static struct sockaddr_un listener;
static const char *number;

static void tell(const char *what) {
    struct timespec now;
    char line[128];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s %s %d %lld", number, what, (int)getpid(),
                          (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    sendto(teller, line, (size_t)length, 0, (struct sockaddr *)&listener, sizeof listener);
}

static void finish(int signal_number) {
    (void)signal_number;
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s PORT READY_MS SOCKET INDEX\n", argv[0]);
        return 2;
    }
    number = argv[4];
    teller = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    listener.sun_family = AF_UNIX;
    strncpy(listener.sun_path, argv[3], sizeof listener.sun_path - 1);
    tell("started");
    signal(SIGTERM, finish);
    signal(SIGPIPE, SIG_IGN);

    long wait = atol(argv[2]);
    struct timespec pause = {wait / 1000, (wait % 1000) * 1000000L};
    while (nanosleep(&pause, &pause) != 0) {
    }

    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(server, (struct sockaddr *)&address, sizeof address) != 0 || listen(server, 64) != 0) {
        perror("component: cannot listen");
        return 1;
    }
    tell("ready");

    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    char request[4096];
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client < 0)
            continue;
        if (read(client, request, sizeof request) > 0 && write(client, answer, sizeof answer - 1) < 0)
            perror("component: cannot answer");
        close(client);
    }
}
