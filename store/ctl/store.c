/* SPDX-License-Identifier: BSD-3-Clause
 * `store stat|check|backup|restore|compact`: asked of the daemon, or of `bypostd --store` when none
 * answers or when the store must be nobody else's. */
#include "store/ctl/ctl.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONFIG_DEFAULT "/etc/bypost/bypost.yaml"

/* The daemon's program beside ours, as in a build folder or /usr/sbin; else the one of PATH. */
static const char *program(char out[PATH_MAX + 32])
{
	static const char *const beside[] = {"bypostd", "../control/bypostd", "../sbin/bypostd"};
	const char *from_env = getenv("BYPOSTD");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (from_env && from_env[0])
		return from_env;
	if (n > 0) {
		self[n] = '\0';
		const char *directory = dirname(self);
		for (size_t i = 0; i < ARRAY_LEN(beside); i++) {
			snprintf(out, PATH_MAX + 32, "%s/%s", directory, beside[i]);
			if (access(out, X_OK) == 0)
				return out;
		}
	}
	return "bypostd";
}

static void exec_offline(const struct ctl *c, const char *action, const char *directory, int out)
{
	char path[PATH_MAX + 32];
	const char *argv[10], *name = program(path);
	int n = 0;

	argv[n++] = name;
	argv[n++] = "--config";
	argv[n++] = c->config ? c->config : CONFIG_DEFAULT;
	argv[n++] = "--store";
	argv[n++] = action;
	if (c->given & CTL_OPT_YES)
		argv[n++] = "--yes";
	if (directory)
		argv[n++] = directory;
	argv[n] = NULL;
	if (dup2(out, STDOUT_FILENO) >= 0)
		execvp(name, (char *const *)(uintptr_t)argv);
	fprintf(stderr, "bypostctl: cannot run %s: %s\n", name, strerror(errno));
	_exit(CTL_ERROR);
}

/* Runs bypostd --store and shows its lines. */
static int offline(struct ctl *c, const char *action, const char *directory,
	void (*show)(const json_t *object, void *ctx), void *ctx, json_t **last_r)
{
	int pipe_fd[2], status;

	ctl_close(c);
	c->have = c->used = 0;
	c->line = malloc(CTL_LINE_MAX);
	if (!c->line || pipe2(pipe_fd, O_CLOEXEC) < 0) {
		perror("bypostctl");
		return CTL_ERROR;
	}
	pid_t child = fork();
	if (child == 0)
		exec_offline(c, action, directory, pipe_fd[1]);
	close(pipe_fd[1]);
	c->fd = pipe_fd[0];
	int exit = child < 0 ? CTL_ERROR : ctl_answer(c, show, ctx, last_r);
	ctl_close(c);
	if (child > 0)
		waitpid(child, &status, 0);
	return exit;
}

/* The daemon if it answers, and may; else the store itself. */
static int run(struct ctl *c, json_t *request, const char *action, const char *directory,
	void (*show)(const json_t *object, void *ctx), void *ctx, json_t **last_r)
{
	if (request && ctl_reachable(c))
		return ctl_run(c, request, show, ctx, last_r);
	json_decref(request);
	return offline(c, action, directory, show, ctx, last_r);
}

/* ---- stat ---- */

static void show_stat(const json_t *o, void *ctx)
{
	char a[16], b[16], d[16], e[16];

	(void)ctx;
	if (json_object_get(o, "file_bytes")) {
		printf("journal %s, file %s, used %s, of these free %s, format %llu\n",
			format_bytes(ctl_number(o, "journal_bytes"), e),
			format_bytes(ctl_number(o, "file_bytes"), a),
			format_bytes(ctl_number(o, "used_bytes"), b),
			format_bytes(ctl_number(o, "free_bytes"), d),
			(unsigned long long)ctl_number(o, "format"));
		printf("%-10s %12s %9s %6s\n", "table", "rows", "size", "depth");
		return;
	}
	if (json_object_get(o, "index_young")) {
		printf("queue's index (qi): %llu rows of the queue not in it yet, %llu rows of it "
		       "stale\n",
			(unsigned long long)ctl_number(o, "index_young"),
			(unsigned long long)ctl_number(o, "index_stale"));
		return;
	}
	printf("%-10s %12llu %9s %6llu\n", ctl_text(o, "table"),
		(unsigned long long)ctl_number(o, "rows"), format_bytes(ctl_number(o, "bytes"), a),
		(unsigned long long)ctl_number(o, "depth"));
}

int ctl_store_stat(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return run(c, json_pack("{s:s}", "command", "store stat"), "stat", NULL, show_stat, NULL,
		NULL);
}

/* ---- check ---- */

static void show_problem(const json_t *o, void *ctx)
{
	char object[128], detail[256];

	(void)ctx;
	printf("%-19s %s: %s%s%s\n", ctl_text(o, "problem"),
		format_safe(ctl_text(o, "object"), object, sizeof(object)),
		format_safe(ctl_text(o, "detail"), detail, sizeof(detail)),
		json_is_true(json_object_get(o, "lost")) ? " [lost]" : "",
		json_is_true(json_object_get(o, "repaired")) ? " [repaired]" : "");
}

static void print_totals(const json_t *last)
{
	char size[16];

	printf("%llu bodies (%s), %llu messages with %llu recipients queued, %llu accounts with "
	       "%llu mailboxes and %llu messages\n",
		(unsigned long long)ctl_number(last, "bodies"),
		format_bytes(ctl_number(last, "body_bytes"), size),
		(unsigned long long)ctl_number(last, "queued"),
		(unsigned long long)ctl_number(last, "recipients"),
		(unsigned long long)ctl_number(last, "accounts"),
		(unsigned long long)ctl_number(last, "mailboxes"),
		(unsigned long long)ctl_number(last, "messages"));
	printf("%llu problems, %llu repaired, %llu cannot be brought back",
		(unsigned long long)ctl_number(last, "problems"),
		(unsigned long long)ctl_number(last, "repaired"),
		(unsigned long long)ctl_number(last, "lost"));
	if (ctl_number(last, "busy"))
		printf("; %llu mailboxes changed all the time and were not counted",
			(unsigned long long)ctl_number(last, "busy"));
	putchar('\n');
}

int ctl_store_check(struct ctl *c, char **args, int n)
{
	bool repair = c->given & CTL_OPT_REPAIR;
	json_t *last = NULL;
	json_t *request = repair ? NULL : json_pack("{s:s}", "command", "store check");

	(void)args;
	(void)n;
	int exit = run(c, request, repair ? "repair" : "check", NULL, show_problem, NULL, &last);
	if (exit == CTL_OK && !c->json)
		print_totals(last);
	/* 1 as well when something is wrong and stays so. */
	if (exit == CTL_OK && ctl_number(last, "problems") > ctl_number(last, "repaired"))
		exit = CTL_ERROR;
	json_decref(last);
	return exit;
}

/* ---- copies ---- */

static int size_report(const struct ctl *c, int exit, json_t *last, const char *did)
{
	char before[16], after[16];

	if (exit == CTL_OK && !c->json && json_object_get(last, "bytes_before"))
		printf("%s: %s before, %s now\n", did,
			format_bytes(ctl_number(last, "bytes_before"), before),
			format_bytes(ctl_number(last, "bytes"), after));
	else if (exit == CTL_OK && !c->json)
		printf("%s: %s\n", did, format_bytes(ctl_number(last, "bytes"), after));
	json_decref(last);
	return exit;
}

int ctl_store_backup(struct ctl *c, char **args, int n)
{
	char path[PATH_MAX];
	json_t *last = NULL;

	(void)n;
	/* The daemon's directory is another one. */
	if (args[0][0] == '/')
		snprintf(path, sizeof(path), "%s", args[0]);
	else if (!getcwd(path, sizeof(path) - strlen(args[0]) - 1))
		return CTL_ERROR;
	else
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s", args[0]);
	json_t *request = json_pack("{s:s, s:s, s:I}", "command", "store backup", "directory", path,
		"limit", (json_int_t)(c->given & CTL_OPT_LIMIT ? c->limit : 0));
	if (!request) {
		fprintf(stderr, "bypostctl: the directory's name must be UTF-8\n");
		return CTL_ERROR;
	}
	int exit = run(c, request, "backup", path, NULL, NULL, &last);
	return size_report(c, exit, last, "copied");
}

int ctl_store_compact(struct ctl *c, char **args, int n)
{
	json_t *last = NULL;

	(void)args;
	(void)n;
	int exit = run(c, NULL, "compact", NULL, NULL, NULL, &last);
	return size_report(c, exit, last, "compacted");
}

int ctl_store_restore(struct ctl *c, char **args, int n)
{
	(void)n;
	int exit = run(c, NULL, "restore", args[0], show_problem, NULL, NULL);
	if (exit == CTL_OK && !c->json)
		puts("restored");
	return exit;
}
