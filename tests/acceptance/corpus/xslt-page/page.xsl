<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
  xmlns:date="http://exslt.org/dates-and-times" xmlns:math="http://exslt.org/math">
  <xsl:template match="/book">
    <html>
      <p>Made on <xsl:value-of select="date:date-time()"/>, <xsl:value-of select="math:random()"/>.</p>
      <xsl:for-each select="chapter">
        <h1 id="{generate-id()}"><xsl:value-of select="."/></h1>
      </xsl:for-each>
    </html>
  </xsl:template>
</xsl:stylesheet>
