/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/privileges.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

int privileges_find(struct privileges *p, const char *user, char *error, size_t error_n)
{
	*p = (struct privileges){.uid = getuid(), .gid = getgid()};
	snprintf(p->user, sizeof(p->user), "%s", user);
	if (geteuid() != 0)
		return 0;
	const struct passwd *pw = getpwnam(user);
	if (!pw) {
		snprintf(error, error_n, "key node.user: there is no user \"%s\"", user);
		return -ENOENT;
	}
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	p->drop = pw->pw_uid != 0;
	return 0;
}

static bool directory_is_empty(int fd)
{
	DIR *dir = fdopendir(dup(fd));
	bool empty = dir != NULL;

	for (struct dirent *e; dir && (e = readdir(dir));)
		empty &= strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

int privileges_directory(const struct privileges *p, const char *key, const char *path, mode_t mode,
	char *error, size_t error_n)
{
	bool made = mkdir(path, mode) == 0;
	int fd = -1, err = made || errno == EEXIST ? 0 : -errno;
	struct stat st;

	if (err == 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	}
	/* A directory that is in use belongs to somebody: take nothing away. */
	if (err == 0 && p->drop && st.st_uid == 0 && (made || directory_is_empty(fd)) &&
		fchown(fd, p->uid, p->gid) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err < 0)
		snprintf(error, error_n, "key %s: %s: %s", key, path, strerror(-err));
	return err;
}

int privileges_borrow(const struct privileges *p, char *error, size_t error_n)
{
	if (!p->drop)
		return 0;
	if (setegid(p->gid) == 0 && seteuid(p->uid) == 0)
		return 0;
	int err = -errno;
	snprintf(error, error_n, "key node.user: cannot become %s: %s", p->user, strerror(-err));
	privileges_return(p);
	return err;
}

void privileges_return(const struct privileges *p)
{
	if (!p->drop)
		return;
	BUG_ON(seteuid(0) < 0);
	BUG_ON(setegid(0) < 0);
}

int privileges_drop(const struct privileges *p, char *error, size_t error_n)
{
	if (!p->drop)
		return 0;
	/* glibc applies each to all threads; leaving uid 0 clears permitted, effective and ambient
	 * capabilities (capabilities(7)). */
	if (setgroups(0, NULL) == 0 && setresgid(p->gid, p->gid, p->gid) == 0 &&
		setresuid(p->uid, p->uid, p->uid) == 0 && setuid(0) < 0)
		return 0;
	int err = errno ? -errno : -EPERM;
	snprintf(error, error_n, "key node.user: cannot become %s: %s", p->user, strerror(-err));
	return err;
}

void privileges_seal(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
