// Answers each line "addresses NAME" or "services NAME" of standard input, in the way of the libc that it is linked with.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>

static void addresses(const char *name) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *one;
  int error = getaddrinfo(name, NULL, &hints, &found);
  if (error == EAI_NONAME || error == EAI_NODATA) {
    printf(" not-found");
    return;
  }
  if (error != 0) {
    printf(" error: %s", gai_strerror(error));
    return;
  }
  for (one = found; one != NULL; one = one->ai_next) {
    char text[INET6_ADDRSTRLEN];
    const void *address = one->ai_family == AF_INET ? (const void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
                                                    : (const void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
    printf(" %s", inet_ntop(one->ai_family, address, text, sizeof text));
  }
  freeaddrinfo(found);
}

static void services(const char *name) {
  static unsigned char answer[65535];
  ns_msg message;
  int length = res_query(name, ns_c_in, ns_t_srv, answer, sizeof answer);
  if (length < 0) {
    printf(h_errno == HOST_NOT_FOUND || h_errno == NO_DATA ? " not-found" : " error: %d", h_errno);
    return;
  }
  if (ns_initparse(answer, length, &message) != 0) {
    printf(" error: malformed");
    return;
  }
  for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
    ns_rr record;
    char target[NS_MAXDNAME];
    if (ns_parserr(&message, ns_s_an, i, &record) != 0 || ns_rr_type(record) != ns_t_srv) continue;
    if (dn_expand(answer, answer + length, ns_rr_rdata(record) + 6, target, sizeof target) < 0) continue;
    printf(" %u/%s", ns_get16(ns_rr_rdata(record) + 4), target);
  }
}

int main(void) {
  char kind[16], name[512];
  while (scanf("%15s %511s", kind, name) == 2) {
    printf("%s %s:", kind, name);
    strcmp(kind, "addresses") == 0 ? addresses(name) : services(name);
    printf("\n");
  }
  return 0;
}
