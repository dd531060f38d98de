/* SPDX-License-Identifier: BSD-3-Clause
 * `user add|passwd|delete|list`.  Passwords come from standard input, never from the command line,
 * where other users would see them. */
#include "store/ctl/ctl.h"
#include <termios.h>
#include <unistd.h>

#define PASSWORD_LINE 600 /* octets; the daemon takes up to 512 */

/* One line without its end.  On a terminal without echo. */
static bool read_line(const char *prompt, char out[PASSWORD_LINE])
{
	struct termios saved, quiet;
	bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;

	if (tty) {
		quiet = saved;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		fputs(prompt, stderr);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	bool got = fgets(out, PASSWORD_LINE, stdin) != NULL;
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
		fputc('\n', stderr);
	}
	if (got)
		out[strcspn(out, "\r\n")] = '\0';
	return got && out[0];
}

static int read_password(char out[PASSWORD_LINE])
{
	char again[PASSWORD_LINE];

	if (!read_line("Password: ", out)) {
		fprintf(stderr, "bypostctl: no password on standard input\n");
		return CTL_ERROR;
	}
	if (!isatty(STDIN_FILENO))
		return CTL_OK;
	bool same = read_line("Again: ", again) && strcmp(out, again) == 0;
	explicit_bzero(again, sizeof(again));
	if (!same)
		fprintf(stderr, "bypostctl: the passwords differ\n");
	return same ? CTL_OK : CTL_ERROR;
}

static int finish(struct ctl *c, json_t *request, const char *did)
{
	json_t *last = NULL;
	char text[400];
	int exit = ctl_run(c, request, NULL, NULL, &last);

	if (exit == CTL_OK && !c->json)
		printf("%s %s\n", did, format_safe(ctl_text(last, "address"), text, sizeof(text)));
	json_decref(last);
	return exit;
}

static int with_password(struct ctl *c, const char *command, const char *address, const char *did)
{
	char password[PASSWORD_LINE];
	int exit = read_password(password);
	json_t *request = exit == CTL_OK ? json_pack("{s:s, s:s, s:s}", "command", command,
						   "address", address, "password", password)
					 : NULL;

	explicit_bzero(password, sizeof(password));
	if (exit != CTL_OK)
		return exit;
	if (!request) {
		fprintf(stderr, "bypostctl: address and password must be UTF-8\n");
		return CTL_ERROR;
	}
	return finish(c, request, did);
}

int ctl_user_add(struct ctl *c, char **args, int n)
{
	(void)n;
	return with_password(c, "user add", args[0], "added");
}

int ctl_user_passwd(struct ctl *c, char **args, int n)
{
	(void)n;
	return with_password(c, "user passwd", args[0], "password changed for");
}

int ctl_user_delete(struct ctl *c, char **args, int n)
{
	(void)n;
	if (!(c->given & CTL_OPT_YES)) {
		fprintf(stderr,
			"bypostctl: this deletes the mailbox with all its mail: say --yes\n");
		return CTL_USAGE;
	}
	json_t *request = json_pack("{s:s, s:s}", "command", "user delete", "address", args[0]);
	if (!request) {
		fprintf(stderr, "bypostctl: the address must be UTF-8\n");
		return CTL_ERROR;
	}
	return finish(c, request, "deleted");
}

static void show_user(const json_t *o, void *ctx)
{
	bool *titled = ctx;
	char text[400], size[16];

	if (!*titled)
		printf("%-40s %9s %7s\n", "address", "messages", "size");
	*titled = true;
	printf("%-40s %9llu %7s\n", format_safe(ctl_text(o, "address"), text, sizeof(text)),
		(unsigned long long)ctl_number(o, "messages"),
		format_bytes(ctl_number(o, "bytes"), size));
}

int ctl_user_list(struct ctl *c, char **args, int n)
{
	bool titled = false;

	(void)args;
	(void)n;
	int exit = ctl_run(c, json_pack("{s:s}", "command", "user list"), show_user, &titled, NULL);
	if (exit == CTL_OK && !titled && !c->json)
		puts("There are no users.");
	return exit;
}
