import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.time.Instant;
import java.util.HashSet;
import java.util.Set;
import javax.annotation.processing.AbstractProcessor;
import javax.annotation.processing.RoundEnvironment;
import javax.annotation.processing.SupportedAnnotationTypes;
import javax.lang.model.SourceVersion;
import javax.lang.model.element.Element;
import javax.lang.model.element.TypeElement;
import javax.tools.StandardLocation;

/** Generates a class with the date and an index of what is marked, in the order of a hash set. */
@SupportedAnnotationTypes("Noted")
public final class Notes extends AbstractProcessor {
    /** Has the identity hash of every object, as elements of the compiler do. */
    private record Note(Object element, String name) {
        @Override
        public int hashCode() {
            return System.identityHashCode(element);
        }
    }

    @Override
    public SourceVersion getSupportedSourceVersion() {
        return SourceVersion.latest();
    }

    @Override
    public boolean process(Set<? extends TypeElement> annotations, RoundEnvironment round) {
        Set<Note> notes = new HashSet<>();
        for (TypeElement annotation : annotations) {
            for (Element element : round.getElementsAnnotatedWith(annotation)) {
                notes.add(new Note(element, element.toString()));
            }
        }
        if (notes.isEmpty()) {
            return false;
        }
        var filer = processingEnv.getFiler();
        try (Writer source = filer.createSourceFile("Generated").openWriter();
                Writer index = filer.createResource(StandardLocation.CLASS_OUTPUT, "", "Index.txt").openWriter()) {
            source.write("class Generated { static final String WHEN = \"" + Instant.now() + "\"; }");
            for (Note note : notes) {
                index.write(note.name() + "\n");
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return true;
    }
}
