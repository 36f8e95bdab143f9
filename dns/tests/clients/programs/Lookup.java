import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Hashtable;
import java.util.List;
import java.util.Scanner;
import javax.naming.NameNotFoundException;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

/** Answers each line of standard input: "addresses NAME" by libc, "services NAME" and "records NAME" by Java's own resolver. */
class Lookup {
  private static List<String> addresses(String name) throws Exception {
    List<String> found = new ArrayList<>();
    for (InetAddress address : InetAddress.getAllByName(name)) {
      found.add(address.getHostAddress());
    }
    return found;
  }

  private static List<String> records(String name, String type) throws Exception {
    Hashtable<String, String> environment = new Hashtable<>();
    environment.put("java.naming.factory.initial", "com.sun.jndi.dns.DnsContextFactory");
    Attribute attribute = new InitialDirContext(environment).getAttributes("dns:/" + name, new String[] {type}).get(type);
    List<String> found = new ArrayList<>();
    if (attribute != null) {
      for (Object value : Collections.list(attribute.getAll())) {
        String[] words = value.toString().split(" ");
        found.add(type.equals("SRV") ? words[2] + "/" + words[3] : value.toString());
      }
    }
    return found;
  }

  private static List<String> answer(String kind, String name) {
    try {
      return switch (kind) {
        case "addresses" -> addresses(name);
        case "services" -> records(name, "SRV");
        default -> {
          List<String> both = records(name, "A");
          both.addAll(records(name, "AAAA"));
          yield both;
        }
      };
    } catch (UnknownHostException | NameNotFoundException error) {
      return List.of("not-found");
    } catch (Exception error) {
      return List.of("error:", error.toString());
    }
  }

  public static void main(String[] arguments) {
    Scanner lines = new Scanner(System.in);
    while (lines.hasNext()) {
      String kind = lines.next();
      String name = lines.next();
      System.out.println(kind + " " + name + ": " + String.join(" ", answer(kind, name)));
    }
  }
}
