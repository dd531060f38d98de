/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "dataplane/base/log.h"
#include "store/control/daemon.h"
#include "store/control/privileges.h"

static int open_append(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);

	return fd < 0 ? -errno : fd;
}

int logfile_open(struct daemon *d, const struct privileges *p, char *error, size_t error_n)
{
	const struct config_log *l = &d->config->root.log;

	log_set_level((enum log_level)l->level);
	if (!l->file[0])
		return 0;
	int fd = open_append(l->file);
	if (fd >= 0 && p->drop && fchown(fd, p->uid, p->gid) < 0) {
		int err = -errno;
		close(fd);
		fd = err;
	}
	if (fd < 0) {
		snprintf(error, error_n, "key log.file: %s: %s", l->file, strerror(-fd));
		return fd;
	}
	d->log_file = fd;
	log_set_fd(fd);
	return 0;
}

void logfile_reopen(struct daemon *d)
{
	const char *path = d->config->root.log.file;

	if (!path[0])
		return;
	int fd = open_append(path);
	if (fd < 0) {
		log_error("control",
			"log file cannot be opened anew, the old one is kept path=%s error=\"%s\"",
			path, strerror(-fd));
		return;
	}
	log_flush();
	log_set_fd(fd);
	close(d->log_file);
	d->log_file = fd;
}
