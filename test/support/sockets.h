/*
 * What differs between the sockets of POSIX and of Windows, as far as the servers of the tests use them.
 */
#ifndef SOCKETS_H
#define SOCKETS_H

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <ws2tcpip.h>

#define SHUT_WR SD_SEND
#define SHUT_RDWR SD_BOTH
#define MSG_NOSIGNAL 0

static inline void sockets_begin(void)
{
    WSADATA data;

    if (WSAStartup(MAKEWORD(2, 2), &data) != 0) abort();
}

static inline int sockets_close(int fd)
{
    return closesocket((SOCKET)fd);
}

/* Ends an accept() that waits on it. */
static inline int sockets_stop(int listener)
{
    return closesocket((SOCKET)listener);
}

static inline int sockets_never_wait(int fd)
{
    u_long yes = 1;

    return ioctlsocket((SOCKET)fd, (long)FIONBIO, &yes);
}
#else
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void sockets_begin(void)
{
}

static inline int sockets_close(int fd)
{
    return close(fd);
}

static inline int sockets_stop(int listener)
{
    return shutdown(listener, SHUT_RDWR);
}

static inline int sockets_never_wait(int fd)
{
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}
#endif

/* Children of the test don't inherit it. */
static inline int sockets_own(int fd)
{
#ifndef _WIN32
    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
    return fd;
}

#endif
