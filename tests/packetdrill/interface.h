/* SPDX-License-Identifier: BSD-3-Clause
 * The binary interface between a script runner and a stack in a shared object.  The runner loads
 * the object, looks up packetdrill_interface_init, and gives it this table to fill in.  The order
 * and the types of the members are the interface; every call gets the first member back. */
#pragma once
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

struct runner_calls {
	void *state; /* ours */
	void (*free)(void *state);
	/* as the system calls of the same name, errors in errno */
	int (*socket)(void *state, int domain, int type, int protocol);
	int (*bind)(void *state, int fd, const struct sockaddr *address, socklen_t n);
	int (*listen)(void *state, int fd, int backlog);
	int (*accept)(void *state, int fd, struct sockaddr *address, socklen_t *n);
	int (*connect)(void *state, int fd, const struct sockaddr *address, socklen_t n);
	ssize_t (*read)(void *state, int fd, void *buf, size_t n);
	ssize_t (*readv)(void *state, int fd, const struct iovec *iov, int iov_n);
	ssize_t (*recv)(void *state, int fd, void *buf, size_t n, int flags);
	ssize_t (*recvfrom)(void *state, int fd, void *buf, size_t n, int flags,
		struct sockaddr *address, socklen_t *address_n);
	ssize_t (*recvmsg)(void *state, int fd, struct msghdr *msg, int flags);
	ssize_t (*write)(void *state, int fd, const void *buf, size_t n);
	ssize_t (*writev)(void *state, int fd, const struct iovec *iov, int iov_n);
	ssize_t (*send)(void *state, int fd, const void *buf, size_t n, int flags);
	ssize_t (*sendto)(void *state, int fd, const void *buf, size_t n, int flags,
		const struct sockaddr *address, socklen_t address_n);
	ssize_t (*sendmsg)(void *state, int fd, const struct msghdr *msg, int flags);
	int (*fcntl)(void *state, int fd, int command, ...);
	int (*ioctl)(void *state, int fd, unsigned long request, ...);
	int (*close)(void *state, int fd);
	int (*shutdown)(void *state, int fd, int how);
	int (*getsockopt)(
		void *state, int fd, int level, int name, void *value, socklen_t *value_n);
	int (*setsockopt)(
		void *state, int fd, int level, int name, const void *value, socklen_t value_n);
	int (*poll)(void *state, struct pollfd *fds, nfds_t n, int timeout_ms);
	/* An IP packet arrives.  0, or -1. */
	int (*netdev_send)(void *state, const void *packet, size_t n);
	/* The next IP packet that left: *n is the room and then the octets, 0 when none came;
	 * *at_us when it left.  0, or -1 to be asked again at once. */
	int (*netdev_receive)(void *state, void *packet, size_t *n, long long *at_us);
	int (*usleep)(void *state, useconds_t us);
	int (*gettimeofday)(void *state, struct timeval *tv, struct timezone *tz);
	int (*epoll_create)(void *state, int size);
	int (*epoll_ctl)(void *state, int epfd, int op, int fd, struct epoll_event *event);
	int (*epoll_wait)(void *state, int epfd, struct epoll_event *events, int n, int timeout_ms);
	int (*pipe)(void *state, int fds[2]);
	int (*splice)(void *state, int from, loff_t *from_offset, int to, loff_t *to_offset,
		size_t n, unsigned flags);
};

/* words: comma list of profiles, see profile.c; NULL: none. */
void packetdrill_interface_init(const char *words, struct runner_calls *calls_r);
