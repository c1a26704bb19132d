/*
 * The small world's strict server (world.h) on a real loopback socket, for engines that have a thread: connections stay
 * open, each has a thread of its own, and any number of requests is answered. Beside the API there are
 *
 *     /big/N     N bytes, 'a' to 'z' over and over
 *     /hold      no answer before web_release()
 *     /sink      reads the body, and says how long it was
 *
 * An exchange waits for web_release(), too, once web_hold_exchanges() has been called.
 */
#ifndef DPG_TEST_WEB_H
#define DPG_TEST_WEB_H

#include "world.h"

typedef struct web web;

web *web_new(world *w); /* borrowed; touched under the server's lock from here on */
void web_free(web *s);  /* closes and joins */

const char *web_base(const web *s);        /* "http://127.0.0.1:PORT/v1" */
int web_number(web *s, const int *number); /* one of the world's, which its threads may be changing */
void web_set(web *s, int *number, int to);
void web_release(web *s); /* all that wait, and all that come */
void web_hold_exchanges(web *s);
bool web_has_seen(web *s, const char *word, int n); /* n requests whose path holds it, by now */
bool web_saw(web *s, const char *word, int n);      /* … waited for; false after 30 s */

#endif
